// The closing step of an update: M x C numbers in and out, one block for each item.
#include "cuda/finish.cuh"
#include "cuda/launchers.h"

namespace mnad::cuda {
namespace {

template <class A>
__device__ A update_scale(const Statistics& statistics, UpdateRule rule, int64_t row) {
  switch (rule) {
    case UpdateRule::max_all:
      return exp(-static_cast<const A*>(statistics.peak_all)[row]);
    case UpdateRule::max_assigned:
      return exp(-static_cast<const A*>(statistics.peak_assigned)[row]);
    case UpdateRule::plain:
      return 1 / static_cast<const A*>(statistics.total)[row];
  }
  return 0;
}

template <class A>
__global__ void __launch_bounds__(kThreads, kBlocks) update_items_kernel(ItemsUpdate update) {
  DYN_SHARED(buffer);
  const int64_t row = blockIdx.x, C = update.C;
  const A* item = static_cast<const A*>(update.items) + row * C;
  const A* sum = static_cast<const A*>(update.statistics.weighted_sum) + row * C;
  A* to = static_cast<A*>(update.new_items) + row * C;
  if (update.statistics.counts[row] == 0) {
    for (int64_t c = threadIdx.x; c < C; c += kThreads) to[c] = item[c];
    return;
  }
  const A scale = update_scale<A>(update.statistics, update.rule, row);
  double square = 0;
  for (int64_t c = threadIdx.x; c < C; c += kThreads) {
    const A moved = item[c] + scale * sum[c];
    square += double(moved) * double(moved);
  }
  const double of_warp = combine_warp(square, Add{});
  double* const partial = reinterpret_cast<double*>(buffer);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = of_warp;
  __syncthreads();
  square = 0;
  for (int warp = 0; warp < kWarps; ++warp) square += partial[warp];
  const double norm = sqrt(square);
  const A inverse = A(1 / (norm > kNormEps ? norm : kNormEps));
  for (int64_t c = threadIdx.x; c < C; c += kThreads) to[c] = (item[c] + scale * sum[c]) * inverse;
}

template <class A>
cudaError_t run(const ItemsUpdate& update, cudaStream_t stream) {
  return launch(update_items_kernel<A>, dim3(unsigned(update.rows)), dim3(kThreads), kWarps * sizeof(double), stream,
                update);
}

}  // namespace

cudaError_t update_items(const ItemsUpdate& update, cudaStream_t stream) {
  if (update.rows == 0) return cudaSuccess;
  return update.is_double ? run<double>(update, stream) : run<float>(update, stream);
}

}  // namespace mnad::cuda
