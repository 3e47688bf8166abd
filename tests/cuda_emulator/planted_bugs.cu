// A block-wide sum with one bug of a kind, chosen by a definition: the test of the emulator.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "cuda/portable.cuh"

namespace {

constexpr int kThreads = 64, kLanes = 8;

// Sums of the values of each kLanes neighbours.
__device__ void add_lanes(float (&sum)[1]) {
#ifdef BUG_MISSING_LANES
  if (threadIdx.x % kLanes == 5) return;
#endif
#ifdef BUG_LANES_OUTSIDE_GROUP
  for (int distance = kLanes; distance > 0; distance /= 2) {
#else
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
#endif
    float other[1] = {sum[0]};
    mnad::cuda::swap_lanes<kLanes, false>(other, distance);
    sum[0] += other[0];
  }
}

__global__ void sum_kernel(const float* values, float* totals, int n) {
  DYN_SHARED(shared);
  float* partial = reinterpret_cast<float*>(shared);
  const int i = threadIdx.x;
  float sum[1] = {};
  float* copied = partial + kThreads + 4 * i;
  mnad::cuda::copy_async(copied, values, false);
#ifdef BUG_MISSING_WAIT
  sum[0] += copied[0];
#endif
  mnad::cuda::wait_for_copies();
  sum[0] += copied[0];
#ifdef BUG_ABANDONED_COPY
  if (i == 0) mnad::cuda::copy_async(copied, values, true);
#endif
#ifdef BUG_MISALIGNED_WORD
  for (int at = 4 * i; at < n; at += 4 * kThreads) {
    const uint4 word = mnad::cuda::load_streaming(values + at + (at == 4 * (kThreads - 1) ? -1 : 0));
#else
  for (int at = 4 * i; at < n; at += 4 * kThreads) {
    const uint4 word = mnad::cuda::load_streaming(values + at);
#endif
    float four[4];
    std::memcpy(four, &word, sizeof word);
    sum[0] += four[0] + four[1] + four[2] + four[3];
  }
#ifdef BUG_GLOBAL_OVERRUN
  if (i == 0) sum[0] += values[n];
#endif
#ifdef BUG_SHARED_OVERRUN
  partial[i] = sum[0];
  copied[i == kThreads - 1 ? 4 : 0] = 0;
#else
  partial[i] = sum[0];
#endif
#ifdef BUG_DIVERGENT_BARRIER
  if (i < 32) __syncthreads();
#elif defined(BUG_LANES_AS_BARRIER)
  float nothing[1] = {};
  mnad::cuda::swap_lanes<32>(nothing, 1);
  partial[i] += partial[i ^ 1];
  __syncthreads();
#elif !defined(BUG_MISSING_BARRIER)
__syncthreads();
#endif
  for (int half = kThreads / 2; half >= kLanes; half /= 2) {
    if (i < half) partial[i] += partial[i + half];
    __syncthreads();
  }
  if (i >= kLanes) return;
  sum[0] = partial[i];
  add_lanes(sum);
  if (i == 0) *totals = sum[0];
}

}  // namespace

int main(int, char** arguments) {
  cuda_emulator::options().schedule = cuda_emulator::Schedule(std::atoi(arguments[1]));
  std::vector<float> values(256, 1.0f);
  float total = 0;
  mnad::cuda::launch(sum_kernel, dim3(1), dim3(kThreads), 5 * kThreads * sizeof(float), nullptr, values.data(), &total,
                     256);
  std::printf("%g\n", total);
  return total == 256 ? 0 : 1;
}
