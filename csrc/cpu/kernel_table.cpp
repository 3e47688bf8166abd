// The table of one instruction set's kernels.
#include "cpu/kernels.h"
#include "cpu/tile_kernels.h"

#define MNAD_PASTE(a, b) a##b
#define MNAD_JOIN(a, b) MNAD_PASTE(a, b)
#define MNAD_QUOTE(a) #a
#define MNAD_STRING(a) MNAD_QUOTE(a)

namespace mnad::cpu {

const Kernels MNAD_JOIN(kernels_, MNAD_ISA) = {
    .instruction_set = MNAD_STRING(MNAD_ISA),
    .vector_bytes = MNAD_ISA::kVectorBytes,
    .forward_scratch_bytes = MNAD_ISA::forward_scratch_bytes,
    .backward_scratch_bytes = MNAD_ISA::backward_scratch_bytes,
    .forward = MNAD_ISA::forward,
    .backward = MNAD_ISA::backward,
};

}  // namespace mnad::cpu
