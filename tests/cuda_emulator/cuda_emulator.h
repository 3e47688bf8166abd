// Runs CUDA kernels on the CPU: what a kernel source includes in place of the CUDA runtime.
//
// Every thread of a block is a fiber with a stack of its own; one block runs at a time. A thread runs until it waits
// at __syncthreads() or ends, then the scheduler picks the next one in the order that is set, so a missing barrier
// shows in one order or another, and ThreadSanitizer sees it in all. Shared memory is allocated for every block in
// its exact size and filled with 0xff (NaN), so that AddressSanitizer sees an overrun and the tests see an unset read.
#pragma once

#include <cuda_bf16.h>  // with a host compiler: the number formats alone
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <math.h>

#include <climits>
#include <cstdint>
#include <cstring>
#include <vector>

#undef __global__
#undef __device__
#undef __host__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define threadIdx (cuda_emulator::current().thread)
#define blockIdx (cuda_emulator::current().block)
#define DYN_SHARED(name) char* const name = cuda_emulator::current().shared
// The address of a static of the lambda's own tells barriers apart.
#define __syncthreads()              \
  cuda_emulator::wait_for_block([] { \
    static char site;                \
    return &site;                    \
  }())

namespace cuda_emulator {

// The order in which the threads of a block run between two barriers.
enum class Schedule { forward, reverse, by_lane, random };

struct Options {
  Schedule schedule = Schedule::forward;
  int processors = 4;  // what cudaDeviceGetAttribute tells of the device
  int shared_per_block = 227 << 10;
};

struct ThreadState {
  uint3 thread, block;
  char* shared;
};

Options& options();
const ThreadState& current();
void wait_for_block(const void* barrier);
// Copies of 16 bytes that a thread has begun, where to and where from (null: zeros). They are made when it waits for
// them, at the last moment that a GPU may take, so that a missing wait shows.
struct Copy {
  void* to;
  const void* from;
};
std::vector<Copy>& pending_copies();
// Replaces `values` by those of the lane whose number differs by `distance`; all lanes of `group` must come.
void exchange(void* values, size_t bytes, int distance, unsigned group, const void* site);
[[noreturn]] void stop_lanes(const char* what);
void check_alignment(const void* at, size_t bytes);
void run(dim3 grid, dim3 block, size_t shared, void (*body)(void*), void* context);

}  // namespace cuda_emulator

namespace mnad::cuda {

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, cudaStream_t,
                   Arguments... arguments) {
  auto body = [&] { kernel(Parameters(arguments)...); };
  cuda_emulator::run(grid, block, shared, [](void* context) { (*static_cast<decltype(body)*>(context))(); }, &body);
  return cudaSuccess;
}

template <class Word>
inline Word load_word(const void* at) {
  cuda_emulator::check_alignment(at, sizeof(Word));
  Word word;
  std::memcpy(&word, at, sizeof word);
  return word;
}
template <class Word>
inline void store_word(void* at, Word word) {
  cuda_emulator::check_alignment(at, sizeof(Word));
  std::memcpy(at, &word, sizeof word);
}
inline uint4 load_streaming(const void* at) { return load_word<uint4>(at); }
inline void store_streaming(void* at, uint4 word) { store_word(at, word); }

template <class A>
inline A rounded_product(A a, A b) {
  return a * b;
}

inline void copy_async(void* to, const void* from, bool inside) {
  cuda_emulator::check_alignment(to, 16), cuda_emulator::check_alignment(from, 16);
  cuda_emulator::pending_copies().push_back({to, inside ? from : nullptr});
}
inline void wait_for_copies() {
  for (const auto& [to, from] : cuda_emulator::pending_copies()) {
    if (from)
      std::memcpy(to, from, 16);
    else
      std::memset(to, 0, 16);
  }
  cuda_emulator::pending_copies().clear();
}

template <int Width, bool kWholeWarp = true, class V, int N>
inline void swap_lanes(V (&values)[N], int distance) {
  static const char site = 0;  // one for each instance
  const unsigned lane = threadIdx.x % 32, all = Width == 32 ? ~0u : (1u << Width % 32) - 1;
  if (distance >= Width) cuda_emulator::stop_lanes("a lane asks for the values of a lane outside its group");
  cuda_emulator::exchange(values, sizeof values, distance, kWholeWarp ? ~0u : all << (lane / Width * Width), &site);
}

}  // namespace mnad::cuda
