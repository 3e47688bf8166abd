// The table of one instruction set's kernels.
#include "cpu/kernels.h"
#include "cpu/tile_kernels.h"

#define MNAD_PASTE(a, b) a##b
#define MNAD_JOIN(a, b) MNAD_PASTE(a, b)
#define MNAD_QUOTE(a) #a
#define MNAD_STRING(a) MNAD_QUOTE(a)

namespace mnad::cpu {

const Kernels MNAD_JOIN(kernels_, MNAD_ISA) = {
    MNAD_STRING(MNAD_ISA),
    MNAD_ISA::kVectorBytes,
    MNAD_ISA::forward,
    MNAD_ISA::backward,
};

}  // namespace mnad::cpu
