// The two passes, compiled once for each instruction set, and what both begin with.
#pragma once

#include <algorithm>

#include "cpu/plan.h"
#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

void forward(const Forward& pass, const Plan& plan, const void* items, void* partials, void* scratch, int64_t begin,
             int64_t end);
void backward(const Backward& pass, const Plan& plan, const void* items, void* partials, void* scratch, int64_t begin,
              int64_t end);

// Hands out a thread's scratch memory piece by piece, each aligned to a cache line.
class Arena {
 public:
  explicit Arena(void* base) : next_(static_cast<char*>(base)) {}

  template <class A>
  A* take(int64_t elements) {
    A* piece = reinterpret_cast<A*>(next_);
    next_ += (elements * int64_t{sizeof(A)} + 63) / 64 * 64;
    return piece;
  }

 private:
  char* next_;
};

// The items that a sample reads, as its tiles want them.
template <class A, class Tile>
class SampleItems {
 public:
  // With columns or, if this pass or this kind of tile needs none, without.
  SampleItems(const void* rows, const Shape& shape, Arena& arena, bool columns)
      : all_(static_cast<const A*>(rows)),
        per_sample_(shape.items_per_sample),
        columns_(columns && Tile::kHasColumns ? arena.take<A>(padded<A>(shape.C) * padded<A>(shape.M)) : nullptr),
        items_{nullptr, nullptr, shape.M, shape.C, padded<A>(shape.C), padded<A>(shape.M)} {}

  const Items<A>& of(int64_t b) {
    const A* rows = all_ + (per_sample_ ? b * items_.M * items_.length : 0);
    if (items_.rows != rows) {
      items_.rows = rows;
      if constexpr (Tile::kHasColumns)
        if (columns_) Tile::arrange(items_, columns_);
    }
    return items_;
  }

 private:
  const A* all_;
  bool per_sample_;
  A* columns_;
  Items<A> items_;
};

// Whether a chunk of a thread's chunks [begin, end) is streamed.
inline bool is_streamed(Streaming streaming, int64_t chunk, int64_t begin, int64_t end) {
  switch (streaming) {
    case Streaming::nothing:
      return false;
    case Streaming::last_chunk:
      return chunk + 1 == end;
    case Streaming::later_half:
      return 2 * (chunk - begin) >= end - begin;
    case Streaming::everything:
      return true;
  }
  return false;
}

// Calls f(sample, position, number of positions, whether it is the last one) for every tile of a chunk.
template <class F>
void for_each_tile(const Plan& plan, const Shape& shape, int64_t chunk, F&& f) {
  const int64_t first = chunk % plan.chunks_per_sample * plan.chunk, last = std::min(first + plan.chunk, shape.P);
  for (int64_t position = first; position < last; position += kTile)
    f(chunk / plan.chunks_per_sample, position, std::min<int64_t>(kTile, last - position), position + kTile >= last);
}

// Calls f(storage type, computing type) with values of the types that `dtype` stands for.
template <class F>
void dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{}, float{});
    case DType::f64:
      return f(double{}, double{});
    case DType::bf16:
      return f(bf16{}, float{});
    case DType::f16:
      return f(f16{}, float{});
  }
}

}  // namespace mnad::cpu::MNAD_ISA
