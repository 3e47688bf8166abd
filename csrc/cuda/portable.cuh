// All that the kernels use of CUDA beyond the language. The tests compile the same sources with a host compiler
// and run them on the CPU, so there are no textures, no inline PTX and no library of primitives here.
#pragma once

#ifdef MNAD_CUDA_EMULATOR
#include "cuda_emulator.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

// The block's dynamic shared memory, aligned to 16 bytes.
#define DYN_SHARED(name)                                      \
  extern __shared__ __align__(16) unsigned char name##_raw[]; \
  char* const name = reinterpret_cast<char*>(name##_raw)

namespace mnad::cuda {

constexpr size_t kSharedWithoutAsking = 48 << 10;

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                   Arguments... arguments) {
  if (shared > kSharedWithoutAsking) {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared));
    if (error != cudaSuccess) return error;
  }
  kernel<<<grid, block, shared, stream>>>(Parameters(arguments)...);
  return cudaGetLastError();
}

}  // namespace mnad::cuda
#endif
