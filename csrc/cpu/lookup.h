// Picks, for queries in vectors over positions, a channel of the item that each of them has.
#pragma once

#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

// One channel of all items, from which each of W queries picks that of its own: in registers, 1 or 2, or in memory.
template <class A, int Registers>
class Lookup {
 public:
  explicit Lookup(const Items<A>& items) : items_(items) {}

  void at(int64_t c) {
    channel_ = c;
    for (int i = 0; i < Registers; ++i) parts_[i] = load(items_.columns + c * kLookup<A> + i * W);
  }

  Vector<A> operator[](Integer<A> index) const {
    if constexpr (Registers == 1) return __builtin_shuffle(parts_[0], index);
    if constexpr (Registers == 2) return __builtin_shuffle(parts_[0], parts_[1], index);
    Vector<A> found;
    for (int i = 0; i < W; ++i) found[i] = items_[index[i]][channel_];
    return found;
  }

 private:
  static constexpr int W = kWidth<A>;
  const Items<A>& items_;
  int64_t channel_ = 0;
  Vector<A> parts_[Registers > 0 ? Registers : 1];
};

// Calls f with the lookup that suits the items.
template <class A, class F>
void look_up(const Items<A>& items, F&& f) {
  if (!items.columns) return f(Lookup<A, 0>(items));
  if (items.M <= kWidth<A>) return f(Lookup<A, 1>(items));
  f(Lookup<A, 2>(items));
}

}  // namespace mnad::cpu::MNAD_ISA
