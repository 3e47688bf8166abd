// Stores of a tile that wait for the next tile: what is to be written stays in the tile until the next one is loaded
// over it, vector by vector. Memory takes it in small pieces while something is computed, not all at once.
#pragma once

#include <optional>

#include "cpu/column_map.h"
#include "cpu/column_picks.h"
#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

// Of a ColumnTile.
template <class T, class A>
class DeferredStore {
 public:
  // A pass whose maps a tile can be read from and written to in vectors.
  explicit DeferredStore(const Forward& pass)
      : serves_(pass.features_strides.p == 1 && pass.output && pass.output_strides.p == 1) {}

  // Likewise; and the gradient must be known vector by vector, as the losses' part is where queries pick their items.
  explicit DeferredStore(const Backward& pass)
      : serves_(pass.features_strides.p == 1 && pass.grad_output && pass.grad_output_strides.p == 1 &&
                pass.grad_features && pass.grad_features_strides.p == 1 &&
                (!pass.indices || ColumnPicks<A>::can_pick(pass.shape.M))) {}

  // Whether the tile, of n positions, is written to `to` later.
  bool defer(int64_t n, Target<T, A> to) {
    if (!serves_ || n != kTile) return false;
    to_ = to;
    return true;
  }

  // Calls load(sink), which loads n positions and writes the tile before to the sink, if such a store is pending and
  // the new tile is whole.
  template <class F>
  bool load_over(int64_t n, F&& load) {
    if (!to_ || n != kTile) return false;
    with_columns(*to_, load);
    to_.reset();
    return true;
  }

  // Calls write(target) if a store is pending.
  template <class F>
  void flush(F&& write) {
    if (to_) write(*to_);
    to_.reset();
  }

 private:
  const bool serves_;
  std::optional<Target<T, A>> to_;
};

// Of a tile whose stores never wait.
template <class T, class A>
class NoDeferredStore {
 public:
  explicit NoDeferredStore(const Forward&) {}
  explicit NoDeferredStore(const Backward&) {}

  static bool defer(int64_t, Target<T, A>) { return false; }
  template <class F>
  static bool load_over(int64_t, F&&) {
    return false;
  }
  template <class F>
  static void flush(F&&) {}
};

}  // namespace mnad::cpu::MNAD_ISA
