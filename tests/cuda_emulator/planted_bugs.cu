// A block-wide sum with one bug of a kind, chosen by a definition: the test of the emulator.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "cuda/portable.cuh"

constexpr int kThreads = 64;

__global__ void sum_kernel(const float* values, float* totals, int n) {
  DYN_SHARED(shared);
  float* partial = reinterpret_cast<float*>(shared);
  const int i = threadIdx.x;
  float sum = 0;
#ifdef BUG_GLOBAL_OVERRUN
  for (int at = i; at <= n; at += kThreads) sum += values[at];
#else
  for (int at = i; at < n; at += kThreads) sum += values[at];
#endif
#ifdef BUG_SHARED_OVERRUN
  partial[i + 1] = sum;
#else
  partial[i] = sum;
#endif
#ifdef BUG_DIVERGENT_BARRIER
  if (i < 32) __syncthreads();
#elif !defined(BUG_MISSING_BARRIER)
  __syncthreads();
#endif
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (i < half) partial[i] += partial[i + half];
    __syncthreads();
  }
  if (i == 0) *totals = partial[0];
}

int main(int, char** arguments) {
  cuda_emulator::options().schedule = cuda_emulator::Schedule(std::atoi(arguments[1]));
  std::vector<float> values(256, 1.0f);
  float total = 0;
  mnad::cuda::launch(sum_kernel, dim3(1), dim3(kThreads), kThreads * sizeof(float), nullptr, values.data(), &total,
                     256);
  std::printf("%g\n", total);
  return total == 256 ? 0 : 1;
}
