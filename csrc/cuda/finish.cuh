// The small kernels around a pass: items laid out beforehand where they don't fit into shared memory, and the chunks'
// partial sums added up afterwards, in their order.
#pragma once

#include "cuda/products.cuh"

namespace mnad::cuda {

// Numbers of each item, see Statistics.
template <class A>
struct ItemNumbers {
  int64_t* counts = nullptr;
  A *total = nullptr, *peak_all = nullptr, *peak_assigned = nullptr;

  ItemNumbers() = default;
  __device__ ItemNumbers(char* data, int64_t M)
      : counts(reinterpret_cast<int64_t*>(data)),
        total(reinterpret_cast<A*>(counts + round_up(M, 4))),
        peak_all(total + round_up(M, 4)),
        peak_assigned(peak_all + round_up(M, 4)) {}

  __device__ void clear(int64_t m) const {
    counts[m] = 0, total[m] = 0;
    peak_all[m] = peak_assigned[m] = -A(INFINITY);
  }
  __device__ void copy(int64_t m, const ItemNumbers& from) const {
    counts[m] = from.counts[m], total[m] = from.total[m];
    peak_all[m] = from.peak_all[m], peak_assigned[m] = from.peak_assigned[m];
  }
};

// One chunk's partial sums: numbers of each item, and (M, channels) rows of weighted sums or gradients.
template <class A>
struct Partial {
  ItemNumbers<A> numbers;
  A* rows;

  __device__ Partial(char* partials, int64_t chunk, int64_t M, int64_t channels) {
    char* begin = partials + chunk * partial_bytes(M, channels, sizeof(A));
    numbers = ItemNumbers<A>(begin, M);
    rows = reinterpret_cast<A*>(begin + partial_bytes(M, 0, sizeof(A)));
  }
};

template <class A>
__global__ void __launch_bounds__(kThreads, kBlocks)
    pad_items_kernel(const A* items, int64_t M, int64_t C, int channels, int64_t blocks, int64_t stride, A* to) {
  const int64_t memory = blockIdx.x / blocks, begin = blockIdx.x % blocks * kItemBlock;
  const int64_t count = M - begin < kItemBlock ? M - begin : kItemBlock;
  load_items<false>(items + (memory * M + begin) * C, int(count), C, channels, to + int64_t{blockIdx.x} * stride);
}

// Copies the items to the scratch memory, if the plan has them there.
template <class A>
cudaError_t pad_items(const Shape& shape, const A* items, const Plan& plan, char* scratch, cudaStream_t stream) {
  if (plan.items.shared) return cudaSuccess;
  return launch(pad_items_kernel<A>, dim3(unsigned(shape.memories() * plan.item_blocks)), dim3(kThreads), 0, stream,
                items, shape.M, shape.C, plan.channels, plan.item_blocks, plan.items_stride,
                reinterpret_cast<A*>(scratch + plan.items_at));
}

// Partial sums and where their totals go; what is null is not asked for.
template <class A>
struct Sums {
  Shape shape;
  Plan plan;
  char* scratch;
  Statistics to;
  void* compactness;
  void* separateness;

  static constexpr int kWide = 16 / int(sizeof(A));  // channels that a thread adds up
  static constexpr int kStrands = 32;                // chunks that a block reads at once
  static constexpr int kChannels = kThreads / kStrands * kWide;

  __host__ __device__ int64_t channel_blocks() const { return (plan.channels + kChannels - 1) / kChannels; }
  int64_t row_blocks() const { return to.weighted_sum ? shape.memories() * shape.M * channel_blocks() : 0; }
  int64_t loss_blocks() const { return compactness ? (shape.B + kWarps - 1) / kWarps : 0; }
  __device__ Partial<A> partial(int64_t chunk) const { return Partial<A>(scratch, chunk, shape.M, plan.channels); }
};

struct Add {
  template <class V>
  __device__ V operator()(V a, V b) const {
    return a + b;
  }
};
struct Larger {
  template <class V>
  __device__ V operator()(V a, V b) const {
    return a > b ? a : b;
  }
};

// Combines the values of the lanes of each group of `Width` by f, always in the same order; every lane gets the
// results.
template <int Width, bool kWholeWarp = true, class V, int N, class F>
__device__ inline void combine_lanes(V (&values)[N], F&& f) {
#pragma unroll
  for (int distance = Width / 2; distance > 0; distance /= 2) {
    V others[N];
#pragma unroll
    for (int i = 0; i < N; ++i) others[i] = values[i];
    swap_lanes<Width, kWholeWarp>(others, distance);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = f(values[i], others[i]);
  }
}
template <class V, class F>
__device__ inline V combine_warp(V value, F&& f) {
  V values[1] = {value};
  combine_lanes<32>(values, f);
  return values[0];
}

// Adds up one item's row: every thread some chunks, then one thread for each pack of channels the threads' sums.
template <class A>
__device__ inline void finish_row(const Sums<A>& sums, int64_t row, int64_t block, A* buffer) {
  constexpr int kWide = Sums<A>::kWide, kStrands = Sums<A>::kStrands, kPacks = kThreads / kStrands;
  static_assert(kPacks == kWarps);
  const int64_t m = row % sums.shape.M, C = sums.shape.C,
                chunks = sums.plan.chunks > 0 ? sums.plan.chunks_per_sequence : 0;
  const int64_t begin = row / sums.shape.M * chunks, end = begin + chunks;
  const int pack = threadIdx.x % kPacks, strand = threadIdx.x / kPacks;
  const int64_t c = block * Sums<A>::kChannels + pack * kWide;
  A total[kWide] = {};
  if (c < sums.plan.channels)
#pragma unroll 4
    for (int64_t chunk = begin + strand; chunk < end; chunk += kStrands) {
      A values[kWide];
      load_values(sums.partial(chunk).rows + m * sums.plan.channels + c, values);
#pragma unroll
      for (int v = 0; v < kWide; ++v) total[v] += values[v];
    }
#pragma unroll
  for (int v = 0; v < kWide; ++v) buffer[(v * kPacks + pack) * kStrands + strand] = total[v];
  __syncthreads();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  A all[kWide];  // of a pack of channels, which is a warp's
#pragma unroll
  for (int v = 0; v < kWide; ++v) all[v] = buffer[(v * kPacks + warp) * kStrands + lane];
  combine_lanes<32>(all, Add{});
  const int64_t first = block * Sums<A>::kChannels + warp * kWide;
#pragma unroll
  for (int v = 0; v < kWide; ++v)
    if (lane == v && first + v < C) static_cast<A*>(sums.to.weighted_sum)[row * C + first + v] = all[v];
}

// Combines one item's numbers, a warp each.
template <class A>
__device__ inline void finish_numbers(const Sums<A>& sums, int64_t row) {
  const int64_t m = row % sums.shape.M, chunks = sums.plan.chunks > 0 ? sums.plan.chunks_per_sequence : 0;
  const int64_t begin = row / sums.shape.M * chunks, end = begin + chunks;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto combined = [&](auto start, auto&& of_chunk, auto&& f) {
    for (int64_t chunk = begin + lane; chunk < end; chunk += 32)
      start = f(start, of_chunk(sums.partial(chunk).numbers));
    return combine_warp(start, f);
  };
  using N = const ItemNumbers<A>&;
  if (warp == 0) {
    const int64_t count = combined(int64_t{0}, [&](N of) { return of.counts[m]; }, Add{});
    if (lane == 0) sums.to.counts[row] = count;
  } else if (warp == 1) {
    const A total = combined(A(0), [&](N of) { return of.total[m]; }, Add{});
    if (lane == 0) static_cast<A*>(sums.to.total)[row] = total;
  } else if (warp == 2) {
    const A peak = combined(-A(INFINITY), [&](N of) { return of.peak_all[m]; }, Larger{});
    if (lane == 0) static_cast<A*>(sums.to.peak_all)[row] = peak;
  } else if (warp == 3) {
    const A peak = combined(-A(INFINITY), [&](N of) { return of.peak_assigned[m]; }, Larger{});
    if (lane == 0) static_cast<A*>(sums.to.peak_assigned)[row] = peak;
  }
}

// Adds up the losses of a sample's tiles, a warp each sample.
template <class A>
__device__ inline void finish_losses(const Sums<A>& sums, int64_t block) {
  const int64_t b = block * kWarps + threadIdx.x / 32, tiles = sums.plan.tiles_per_sample;
  if (b >= sums.shape.B) return;
  const double* losses = reinterpret_cast<const double*>(sums.scratch + sums.plan.losses_at) + b * tiles * 2;
  const int lane = threadIdx.x % 32;
  double compactness = 0, separateness = 0;
  for (int64_t tile = lane; tile < tiles; tile += 32)
    compactness += losses[2 * tile], separateness += losses[2 * tile + 1];
  compactness = combine_warp(compactness, Add{}), separateness = combine_warp(separateness, Add{});
  if (lane != 0) return;
  const double P = double(sums.shape.P), C = double(sums.shape.C);
  static_cast<A*>(sums.compactness)[b] = A(compactness / (P * C));
  static_cast<A*>(sums.separateness)[b] = A(separateness / P);
}

template <class A>
__global__ void __launch_bounds__(kThreads, kBlocks) finish_kernel(Sums<A> sums, int64_t row_blocks) {
  DYN_SHARED(buffer);
  const int64_t block = blockIdx.x;
  if (block >= row_blocks) return finish_losses(sums, block - row_blocks);
  const int64_t row = block / sums.channel_blocks(), part = block % sums.channel_blocks();
  finish_row(sums, row, part, reinterpret_cast<A*>(buffer));
  if (part == 0 && sums.to.counts) finish_numbers(sums, row);
}

// Adds up what the chunks left, if anything of it is asked for.
template <class A>
cudaError_t finish(const Sums<A>& sums, cudaStream_t stream) {
  const int64_t blocks = sums.row_blocks() + sums.loss_blocks();
  if (blocks == 0) return cudaSuccess;
  const size_t buffer = kThreads * size_t{Sums<A>::kWide} * sizeof(A);
  return launch(finish_kernel<A>, dim3(unsigned(blocks)), dim3(kThreads), buffer, stream, sums, sums.row_blocks());
}

}  // namespace mnad::cuda
