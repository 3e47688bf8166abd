// The two passes, compiled once for each instruction set.
#pragma once

#include "cpu/plan.h"
#include "cpu/simd.h"
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
