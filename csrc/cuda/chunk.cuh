// What a block of the forward and of the backward kernel has in common: its arrays, its run of tiles, its sums; and on
// the host, how both are launched.
#pragma once

#include "cuda/finish.cuh"
#include "cuda/products.cuh"

namespace mnad::cuda {

constexpr int kLanes = 8;  // that share a position once its products are there

// What the statistics take of a query: its nearest item, -1 where it is left out, and the factor of x.
template <class A>
struct alignas(2 * sizeof(A)) Assigned {
  int item;
  A factor;
};

// What a block knows of each position of its tile.
template <class A>
struct Positions {
  A inverse[kLargestTile];  // 1 / max(|x|, eps), 0 where the sum of squares overflows
  A factor[2][kLargestTile];
  double loss[2][kLargestTile];
  int first[kLargestTile], second[kLargestTile];  // nearest and second nearest item
  Assigned<A> assigned[kLargestTile];
};
static_assert(sizeof(Positions<double>) <= kPositionBytes);

// A thread's position and its share of the items, once products are there: kLanes neighbours have one position.
struct Lane {
  const int position = int(threadIdx.x) / kLanes, number = int(threadIdx.x) % kLanes;

  // Calls f(m) for the items m that are the lane's, and for what pads the last block.
  template <class F>
  __device__ void for_each_item(int blocks, F&& f) const {
    for (int block = 0; block < blocks; ++block)
#pragma unroll
      for (int i = number; i < kItemBlock; i += kLanes) f(block * kItemBlock + i);
  }
};

// 1 / max(|x|, eps) of a sum of squares: 0 where that overflows.
template <class A>
__device__ inline A inverse_norm(A square) {
  const A norm = sqrt(square);
  return A(1) / (norm < A(kNormEps) ? A(kNormEps) : norm);
}

// Adds up the values of a position's lanes. kWholeWarp: all positions of a warp do so.
template <bool kWholeWarp = true, class V, int N>
__device__ inline void add_lanes(V (&values)[N]) {
  combine_lanes<kLanes, kWholeWarp>(values, Add{});
}

// A block's chunk of a pass.
template <class K>
class Chunk {
 protected:
  using T = typename K::T;
  using A = typename K::A;

  __device__ Chunk(const Shape& shape, const void* items, bool item_sums, const Plan& plan, char* scratch, char* shared)
      : plan_(plan),
        M_(int(shape.M)),
        C_(int(shape.C)),
        memory_(int(blockIdx.x / plan.chunks_per_sequence)),
        P_(shape.P),
        shared_(shared),
        own_scratch_(scratch + plan.chunks_at + int64_t{blockIdx.x} * plan.scratch_per_chunk),
        losses_(reinterpret_cast<double*>(scratch + plan.losses_at)),
        partial_(scratch, blockIdx.x, M_, plan.channels),
        at_(*array<Positions<A>>(plan.positions)) {
    if (K::kFast || plan.items.shared) {
      A* own = array<A>(plan.items);
      for (int block = 0; block < plan.item_blocks; ++block) {
        const int begin = block * kItemBlock, count = M_ - begin < kItemBlock ? M_ - begin : kItemBlock;
        load_items<K::kFast>(static_cast<const A*>(items) + (int64_t{memory_} * M_ + begin) * C_, count, C_,
                             plan.channels, own + block * plan.items_stride);
      }
      items_ = {own, plan.items_stride};
    } else {
      items_ = {
          reinterpret_cast<const A*>(scratch + plan.items_at) + int64_t{memory_} * plan.item_blocks * plan.items_stride,
          plan.items_stride};
    }
    if (!item_sums) return;
    sums_ = K::kFast || plan.sums.shared ? array<A>(plan.sums) : partial_.rows;
    numbers_ = K::kFast || plan.numbers.shared ? ItemNumbers<A>(array<char>(plan.numbers), M_) : partial_.numbers;
    for (int64_t i = threadIdx.x; i < words_of_sums(); i += kThreads) store_word(sums_ + i * kWide, Word<16>{});
    for (int m = threadIdx.x; m < M_; m += kThreads) numbers_.clear(m);
  }

  __device__ int channels() const { return plan_.channels; }
  __device__ int blocks() const { return K::kFast ? 1 : plan_.item_blocks; }

  // Finds one of the block's arrays.
  template <class E>
  __device__ E* array(const Slot& slot) const {
    return reinterpret_cast<E*>((K::kFast || slot.shared ? shared_ : own_scratch_) + slot.offset);
  }

  // The plan lies in constant memory: what follows of it costs no register between its uses.
  __device__ Tile<K> tile(int i) const { return {array<T>(plan_.maps[i]), plan_.pitch}; }
  __device__ Table<A> table(int i) const { return {array<A>(plan_.tables[i]), plan_.table_stride}; }

  // Calls f() for every tile, with tile_, b_, position_ and n_ set; the threads are together after each.
  template <class F>
  __device__ void for_each_tile(F&& f) {
    const int64_t chunk = blockIdx.x % plan_.chunks_per_sequence, first = memory_ * plan_.tiles_per_sequence;
    begin_ = int(first + chunk * plan_.tiles_per_sequence / plan_.chunks_per_sequence);
    end_ = int(first + (chunk + 1) * plan_.tiles_per_sequence / plan_.chunks_per_sequence);
    for (int tile = begin_; tile < end_; ++tile) {
      go_to(tile);
      f();
      __syncthreads();
    }
  }

  __device__ void go_to(int tile) {
    tile_ = tile, b_ = tile / int(plan_.tiles_per_sample);
    position_ = int64_t{tile % int(plan_.tiles_per_sample)} * K::kTile;
    n_ = P_ - position_ < K::kTile ? int(P_ - position_) : K::kTile;
  }

  // The tile's part of a map of the sample, from channel `channel` on.
  template <class E>
  __device__ TileMap<K, E> tile_of(E* map, Strides strides, int64_t channel = 0) const {
    return TileMap<K, E>(map + b_ * strides.b + channel * strides.c + position_ * strides.p, strides, C_, n_);
  }

  // Calls take(number, product) for the position's numbers in the first table and its products with the items, those of
  // the thread. The last block's partial sums stay: the position's sum of squares is the last of them.
  template <class F>
  __device__ void multiply(const Tile<K>& tile, A* partial_sums, F&& take) const {
    const PartialSums<K, kScoreSums> partial(partial_sums);
    const Lane lane;
    for (int block = 0; block < blocks(); ++block) {
      A sums[kScoreSums][K::kRows] = {};
      add_products<K>(tile, channels(), items_, block, sums);
      if (block > 0) __syncthreads();
      partial.put(sums);
      __syncthreads();
      if (lane.position < K::kTile)
        for (int i = lane.number; i < kItemBlock; i += kLanes)
          take(table(0).row(block, lane.position)[i], partial.total(i, lane.position));
    }
  }

  // Leaves the sums to the second kernel.
  __device__ void write_sums() {
    if (sums_ && sums_ != partial_.rows)
      for (int64_t i = threadIdx.x; i < words_of_sums(); i += kThreads)
        store_word(partial_.rows + i * kWide, load_word<Word<16>>(sums_ + i * kWide));
    if (sums_ && numbers_.counts != partial_.numbers.counts)
      for (int m = threadIdx.x; m < M_; m += kThreads) partial_.numbers.copy(m, numbers_);
  }

  static constexpr int kWide = 16 / int(sizeof(A));
  __device__ int64_t words_of_sums() const { return int64_t{M_} * channels() / kWide; }

  const Plan& plan_;
  const int M_, C_, memory_;
  const int64_t P_;
  char* const shared_;
  char* const own_scratch_;
  double* const losses_;  // of each tile
  const Partial<A> partial_;
  Positions<A>& at_;
  Table<const A> items_{};
  A* sums_ = nullptr;  // (M, channels)
  ItemNumbers<A> numbers_;
  int begin_ = 0, end_ = 0;  // of the chunk's tiles
  int tile_ = 0, b_ = 0;     // the tile's number and its sample
  int64_t position_ = 0;     // of the tile
  int n_ = 0;                // positions of the tile that lie inside the map
};

template <class Pass>
using PassKernel = void (*)(Pass, Plan, char*);

// Launches one block for each chunk of a pass, then adds up what they leave.
template <class A, class Pass>
cudaError_t run_chunks(PassKernel<Pass> kernel, const Pass& pass, const Sums<A>& sums, cudaStream_t stream) {
  const Plan& plan = sums.plan;
  cudaError_t error = cudaSuccess;
  if (plan.chunks > 0) {
    error = pad_items(pass.shape, static_cast<const A*>(pass.items), plan, sums.scratch, stream);
    if (error == cudaSuccess)
      error = launch(kernel, dim3(unsigned(plan.chunks)), dim3(kThreads), size_t(plan.shared_bytes), stream, pass, plan,
                     sums.scratch);
  }
  return error == cudaSuccess ? finish(sums, stream) : error;
}

template <bool kMayTwice, class T, bool kChannelsLast, class F>
cudaError_t dispatch_tile(const Plan& plan, F&& f) {
  // Contiguous rows of 2-byte elements begin at 16 positions.
  constexpr bool kWide = sizeof(T) == 8, kNarrow = sizeof(T) == 2 && !kChannelsLast;
  if (!plan.fast) return f(General<T, kChannelsLast>{});
  if constexpr (kMayTwice && !kWide)
    if (plan.twice) return f(FastTwice<T, kChannelsLast>{});
  if constexpr (!kNarrow)
    if (plan.tile == kColumns) return f(Fast<T, 1, kChannelsLast>{});
  if constexpr (!kWide) {
    if (plan.tile == 2 * kColumns) return f(Fast<T, 2, kChannelsLast>{});
    if (plan.tile == 4 * kColumns) return f(Fast<T, 4, kChannelsLast>{});
  }
  return cudaErrorInvalidValue;
}

// Calls f(the Kind of the kernel that a plan is made for). kMayTwice: its pass may hold maps twice.
template <bool kMayTwice, class F>
cudaError_t dispatch(DType dtype, const Plan& plan, F&& f) {
  const auto with = [&](auto storage) {
    using T = decltype(storage);
    return plan.channels_last ? dispatch_tile<kMayTwice, T, true>(plan, f)
                              : dispatch_tile<kMayTwice, T, false>(plan, f);
  };
  switch (dtype) {
    case DType::f32:
      return with(float{});
#ifndef MNAD_ONLY_FLOAT  // for tests that compile the kernels several times
    case DType::f64:
      return with(double{});
    case DType::bf16:
      return with(__nv_bfloat16{});
    case DType::f16:
      return with(__half{});
#else
    default:
      break;
#endif
  }
  return cudaErrorInvalidValue;
}

}  // namespace mnad::cuda
