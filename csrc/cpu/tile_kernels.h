// The two passes, compiled once for each instruction set, and what both begin with.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "cpu/plan.h"
#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

// What Kernels in kernels.h says of them.
size_t forward_scratch_bytes(const Forward& pass);
size_t backward_scratch_bytes(const Backward& pass);
void forward(const Forward& pass, const Plan& plan, const void* items, void* partials, std::span<std::byte> scratch,
             int64_t begin, int64_t end);
void backward(const Backward& pass, const Plan& plan, const void* items, void* partials, std::span<std::byte> scratch,
              int64_t begin, int64_t end);

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

// Returns f(storage type, computing type), called with values of the types that `dtype` stands for.
template <class F>
auto dispatch(DType dtype, F&& f) {
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
  __builtin_unreachable();
}

}  // namespace mnad::cpu::MNAD_ISA
