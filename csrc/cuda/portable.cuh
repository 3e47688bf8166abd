// All that the kernels use of CUDA beyond the language. The tests compile the same sources with a host compiler
// and run them on the CPU, so there are no textures, no inline PTX and nothing that lacks a stand-in.
#pragma once

#ifdef MNAD_CUDA_EMULATOR
#include "cuda_emulator.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>

// The block's dynamic shared memory, aligned to 16 bytes.
#define DYN_SHARED(name)                                      \
  extern __shared__ __align__(16) unsigned char name##_raw[]; \
  char* const name = reinterpret_cast<char*>(name##_raw)

namespace mnad::cuda {

constexpr size_t kSharedWithoutAsking = 48 << 10;

// Returns the launch's error, and not one that an earlier call has left to be asked for.
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                   Arguments... arguments) {
  const void* function = reinterpret_cast<const void*>(kernel);
  if (shared > kSharedWithoutAsking) {
    // The most that there is, always: another thread may launch the same kernel with more.
    int device = 0, most = 0;
    cudaError_t error = cudaGetDevice(&device);
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (error == cudaSuccess) error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
    if (error != cudaSuccess) return error;
  }
  const auto with = [&](Parameters... parameters) {
    void* pointers[] = {&parameters...};
    return cudaLaunchKernel(function, grid, block, pointers, shared, stream);
  };
  return with(Parameters(arguments)...);
}

// Reads or writes a whole number at once; `at` is aligned to its size. 16 bytes are a number of 128 bits: those of a
// struct of four, the compiler often moves one by one.
template <class Word>
__device__ inline Word load_word(const void* at) {
  return *static_cast<const Word*>(at);
}
template <class Word>
__device__ inline void store_word(void* at, Word word) {
  *static_cast<Word*>(at) = word;
}

// The same in global memory, for what is used once: the cache lets go of it first.
__device__ inline uint4 load_streaming(const void* at) { return __ldcs(static_cast<const uint4*>(at)); }
__device__ inline void store_streaming(void* at, uint4 word) { __stcs(static_cast<uint4*>(at), word); }

// Begins to copy 16 bytes from global to shared memory, or zeros where `inside` is false. The thread finds them there
// after it has waited for its copies, other threads after a barrier that follows.
__device__ inline void copy_async(void* to, const void* from, bool inside) {
  __pipeline_memcpy_async(to, from, 16, inside ? 0 : 16);
}
__device__ inline void wait_for_copies() {
  __pipeline_commit();
  __pipeline_wait_prior(0);
}

// A product that is rounded: the compiler does not contract it and a sum to an FMA.
__device__ inline float rounded_product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double rounded_product(double a, double b) { return __dmul_rn(a, b); }

// Replaces the values of every lane by those of the lane whose number differs by `distance`, within groups of `Width`
// lanes. All lanes of a group call it together, and with kWholeWarp all lanes of the warp. Orders no other access to
// memory.
template <int Width, bool kWholeWarp = true, class V, int N>
__device__ inline void swap_lanes(V (&values)[N], int distance) {
  const unsigned lane = threadIdx.x % 32, all = Width == 32 ? ~0u : (1u << Width % 32) - 1;
  const unsigned group = kWholeWarp ? ~0u : all << (lane / Width * Width);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = __shfl_xor_sync(group, values[i], distance);
}

}  // namespace mnad::cuda
#endif
