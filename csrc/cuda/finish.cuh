// The small kernels around a pass: items padded beforehand where they don't fit into shared memory, and the chunks'
// partial sums added up afterwards, in their order.
#pragma once

#include "cuda/block.cuh"

namespace mnad::cuda {

constexpr int kColumns = 32;                   // channels of a block that adds up
constexpr int kStrands = kThreads / kColumns;  // chunks that it reads at once

template <class A>
__global__ void __launch_bounds__(kThreads, 2) pad_items_kernel(const A* items, int64_t C, int pitch, A* to) {
  const int64_t row = blockIdx.x;
  load_items(items + row * C, 1, C, pitch, to + row * pitch);
}

// Copies the items to their place in the scratch memory, if that is where the plan has them.
template <class A>
cudaError_t pad_items(const Shape& shape, const A* items, const Plan& plan, char* scratch, cudaStream_t stream) {
  if (plan.items.shared) return cudaSuccess;
  const int64_t rows = shape.memories() * shape.M;
  return launch(pad_items_kernel<A>, dim3(unsigned(rows)), dim3(kThreads), 0, stream, items, shape.C, plan.items_pitch,
                reinterpret_cast<A*>(scratch + plan.items_at));
}

// Partial sums and where their totals go; what is null is not asked for.
template <class A>
struct Sums {
  Shape shape;
  Plan plan;
  char* partials;
  Statistics to;
  void* compactness;
  void* separateness;

  constexpr int64_t column_blocks() const { return (shape.C + kColumns - 1) / kColumns; }
  constexpr int64_t row_blocks() const { return to.weighted_sum ? shape.memories() * shape.M * column_blocks() : 0; }
  __device__ Partial<A> partial(int64_t chunk) const {
    return Partial<A>(partials, chunk, to.weighted_sum ? shape.M : 0, plan.channels);
  }
};

// Combines one value of each thread, always in the same order; every thread gets the result.
template <class V, class F>
__device__ V combine(V value, V* buffer, F&& f) {
  __syncthreads();
  buffer[threadIdx.x] = value;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (int(threadIdx.x) < half) buffer[threadIdx.x] = f(buffer[threadIdx.x], buffer[threadIdx.x + half]);
    __syncthreads();
  }
  return buffer[0];
}

template <class V, class F, class G>
__device__ V combine_chunks(int64_t begin, int64_t end, V start, V* buffer, F&& of_chunk, G&& f) {
  V value = start;
  for (int64_t chunk = begin + threadIdx.x; chunk < end; chunk += kThreads) value = f(value, of_chunk(chunk));
  return combine(value, buffer, f);
}

template <class A>
__device__ void finish_row(const Sums<A>& sums, A* buffer) {
  const Shape& shape = sums.shape;
  const int64_t row = blockIdx.x / sums.column_blocks(), block = blockIdx.x % sums.column_blocks();
  const int64_t m = row % shape.M, count = sums.plan.chunks / (shape.memories() > 0 ? shape.memories() : 1);
  const int64_t begin = row / shape.M * count, end = begin + count;
  const int64_t c = block * kColumns + threadIdx.x % kColumns;
  A total = 0;
  if (c < shape.C)
    for (int64_t chunk = begin + threadIdx.x / kColumns; chunk < end; chunk += kStrands)
      total += sums.partial(chunk).rows[m * sums.plan.channels + c];
  buffer[threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.x < kColumns && c < shape.C) {
    for (int i = 1; i < kStrands; ++i) total += buffer[i * kColumns + threadIdx.x];
    static_cast<A*>(sums.to.weighted_sum)[row * shape.C + c] = total;
  }
  if (block != 0 || !sums.to.counts) return;

  const auto add = [](auto a, auto b) { return a + b; };
  const auto larger = [](A a, A b) { return a > b ? a : b; };
  const auto totals = [&](int64_t chunk) { return sums.partial(chunk).total[m]; };
  const auto counts = [&](int64_t chunk) { return sums.partial(chunk).counts[m]; };
  const auto peaks_all = [&](int64_t chunk) { return sums.partial(chunk).peak_all[m]; };
  const auto peaks_assigned = [&](int64_t chunk) { return sums.partial(chunk).peak_assigned[m]; };
  const A all_total = combine_chunks(begin, end, A(0), buffer, totals, add);
  const A peak_all = combine_chunks(begin, end, -A(INFINITY), buffer, peaks_all, larger);
  const A peak_assigned = combine_chunks(begin, end, -A(INFINITY), buffer, peaks_assigned, larger);
  const int64_t all = combine_chunks(begin, end, int64_t{0}, reinterpret_cast<int64_t*>(buffer), counts, add);
  if (threadIdx.x != 0) return;
  static_cast<A*>(sums.to.total)[row] = all_total;
  static_cast<A*>(sums.to.peak_all)[row] = peak_all;
  static_cast<A*>(sums.to.peak_assigned)[row] = peak_assigned;
  sums.to.counts[row] = all;
}

template <class A>
__device__ void finish_losses(const Sums<A>& sums, int64_t b, double* buffer) {
  const int64_t begin = b * sums.plan.chunks_per_sample, end = begin + sums.plan.chunks_per_sample;
  const auto add = [](double a, double b) { return a + b; };
  const auto near = [&](int64_t chunk) { return double(sums.partial(chunk).losses[0]); };
  const auto margins = [&](int64_t chunk) { return double(sums.partial(chunk).losses[1]); };
  const double compactness = combine_chunks(begin, end, 0.0, buffer, near, add);
  const double separateness = combine_chunks(begin, end, 0.0, buffer, margins, add);
  if (threadIdx.x != 0) return;
  const double P = double(sums.shape.P), C = double(sums.shape.C);
  static_cast<A*>(sums.compactness)[b] = A(compactness / (P * C));
  static_cast<A*>(sums.separateness)[b] = A(separateness / P);
}

template <class A>
__global__ void __launch_bounds__(kThreads, 2) finish_kernel(Sums<A> sums) {
  DYN_SHARED(buffer);
  if (blockIdx.x < sums.row_blocks())
    finish_row(sums, reinterpret_cast<A*>(buffer));
  else
    finish_losses(sums, blockIdx.x - sums.row_blocks(), reinterpret_cast<double*>(buffer));
}

// Adds up what the chunks left, if anything of it is asked for.
template <class A>
cudaError_t finish(const Sums<A>& sums, cudaStream_t stream) {
  const int64_t blocks = sums.row_blocks() + (sums.compactness ? sums.shape.B : 0);
  if (blocks == 0) return cudaSuccess;
  return launch(finish_kernel<A>, dim3(unsigned(blocks)), dim3(kThreads), kThreads * sizeof(double), stream, sums);
}

}  // namespace mnad::cuda
