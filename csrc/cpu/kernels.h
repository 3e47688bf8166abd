// The kernels of one instruction set, and the choice between them at run time.
#pragma once

#include <cstddef>
#include <span>

#include "cpu/plan.h"

namespace mnad::cpu {

struct Kernels {
  const char* instruction_set;
  int64_t vector_bytes;

  // The scratch memory that a thread needs for a pass.
  size_t (*forward_scratch_bytes)(const Forward& pass);
  size_t (*backward_scratch_bytes)(const Backward& pass);

  // Works on chunks [begin, end). `items` are the pass's, rows padded with zeros to whole vectors; `partials` holds a
  // Partial for each chunk, `scratch` is the caller's alone and aligned to a cache line.
  void (*forward)(const Forward& pass, const Plan& plan, const void* items, void* partials,
                  std::span<std::byte> scratch, int64_t begin, int64_t end);
  void (*backward)(const Backward& pass, const Plan& plan, const void* items, void* partials,
                   std::span<std::byte> scratch, int64_t begin, int64_t end);
};

extern const Kernels kernels_baseline;
#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#endif

// The widest set that this processor has; MNAD_INSTRUCTION_SET=baseline|avx2|avx512 names another.
const Kernels& kernels();

}  // namespace mnad::cpu
