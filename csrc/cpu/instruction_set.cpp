// Chooses the kernels of one instruction set when the first pass runs.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "cpu/kernels.h"
#include "cpu/launchers.h"

namespace mnad::cpu {
namespace {

const Kernels& choose() {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const Kernels& widest = avx512 ? kernels_avx512 : avx2 ? kernels_avx2 : kernels_baseline;
  const char* named = std::getenv("MNAD_INSTRUCTION_SET");
  if (!named || !*named) return widest;
  if (std::strcmp(named, "baseline") == 0) return kernels_baseline;
  if (std::strcmp(named, "avx2") == 0 && avx2) return kernels_avx2;
  if (std::strcmp(named, "avx512") == 0 && avx512) return kernels_avx512;
  throw std::invalid_argument(std::string("MNAD_INSTRUCTION_SET must be baseline, avx2 or avx512 and one that this "
                                          "processor has, got ") +
                              named);
#else
  return kernels_baseline;
#endif
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

const char* instruction_set() { return kernels().instruction_set; }

}  // namespace mnad::cpu
