// The kernels of one instruction set, and the choice between them at run time.
#pragma once

#include "cpu/plan.h"

namespace mnad::cpu {

struct Kernels {
  const char* instruction_set;
  int64_t vector_bytes;

  // Works on chunks [begin, end). `items` are the pass's, rows padded with zeros to whole vectors; `partials` holds a
  // Partial for each chunk, `scratch` is the caller's alone.
  void (*forward)(const Forward& pass, const Plan& plan, const void* items, void* partials, void* scratch,
                  int64_t begin, int64_t end);
  void (*backward)(const Backward& pass, const Plan& plan, const void* items, void* partials, void* scratch,
                   int64_t begin, int64_t end);
};

extern const Kernels kernels_baseline;
#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#endif

// The widest set that this processor has; MNAD_INSTRUCTION_SET=baseline|avx2|avx512 names another.
const Kernels& kernels();

}  // namespace mnad::cpu
