// The forward pass: read, top two, losses and update statistics from one look at the features.
//
// What it cannot do without, in float32 at C = 512, P = 1024, M = 10, for a read (features in; output, weights out):
//   B =  1:    6.3 MB,    21 MFLOP of multiply-adds with the items,    2 MFLOP for norms and unit queries
//   B =  4:   25.3 MB,    84 MFLOP                                     8 MFLOP
//   B = 64:  405.3 MB,  1342 MFLOP                                   134 MFLOP
// 3.6 FLOP a byte: memory is the limit on every GPU, if the tile and the items stay in shared memory.
#include "cuda/chunk.cuh"
#include "cuda/launchers.h"

namespace mnad::cuda {
namespace {

// Fills in sums: |q - p|^2 and the sum of q - p over the channels, for the nearest and the second nearest item.
template <class S, class A>
__device__ inline void measure_differences(const S* tile, const TileShape& shape, const A* items, int items_pitch,
                                           A* buffer, Positions<A>& at) {
  const Seat seat(shape);
  const int t = seat.position;
  const A* first = items + int64_t{at.first[t]} * items_pitch;
  const A* second = items + int64_t{at.second[t]} * items_pitch;
  A sums[4] = {};
  for_each_quad(shape, seat, [&](int c) {
    A x[4];
    load_quad(tile, shape, c, t, x);
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const A q = x[v] * at.inverse[t], near = q - first[c + v], far = q - second[c + v];
      sums[0] += near * near;
      sums[1] += near;
      sums[2] += far * far;
      sums[3] += far;
    }
  });
  reduce_groups(sums, shape, buffer, [&](int i, int position, A total) { at.sums[i][position] = total; });
}

// |q - p + eps| of the nearest (0) or the second nearest item (1). Written out, as eps must not count for padding.
template <class A>
__device__ inline A distance(const Positions<A>& at, int rank, int position, int64_t channels) {
  const A eps = A(kDistanceEps), square = at.sums[2 * rank][position], sum = at.sums[2 * rank + 1][position];
  const A shifted = square + eps * (2 * sum + eps * A(channels));
  return sqrt(shifted > 0 || shifted != shifted ? shifted : A(0));
}

template <class T, bool kAllShared>
class ForwardChunk : Chunk<T, kAllShared> {
  using Base = Chunk<T, kAllShared>;
  using A = typename Base::A;
  using Base::at_, Base::b_, Base::buffer_, Base::C_, Base::items_, Base::items_pitch_, Base::M_, Base::n_, Base::P_;
  using Base::partial_, Base::position_, Base::queries_, Base::scores_, Base::shape_, Base::sums_;

 public:
  __device__ ForwardChunk(const Forward& pass, const Plan& plan, char* scratch, char* shared)
      : Base(pass.shape, pass.items, pass.wants_statistics(), plan, scratch, shared), pass_(pass) {}

  __device__ void run() {
    if (pass_.wants_statistics()) clear();
    Base::for_each_tile([&] { run_tile(); });
    Base::write_sums();
    if (pass_.wants_losses() && threadIdx.x == 0) {
      partial_.losses[0] = compactness_;
      partial_.losses[1] = separateness_;
    }
  }

 private:
  __device__ void clear() {
    for (int64_t m = threadIdx.x; m < M_; m += kThreads) {
      partial_.counts[m] = 0;
      partial_.total[m] = 0;
      partial_.peak_all[m] = partial_.peak_assigned[m] = -A(INFINITY);
    }
  }

  __device__ void run_tile() {
    load_tile(Base::tile_of(static_cast<const T*>(pass_.features), pass_.features_strides), shape_, queries_);
    __syncthreads();
    measure(queries_, shape_, buffer_, at_);
    dots(queries_, shape_, items_, items_pitch_, M_, buffer_, scores_);
    rank();
    if (pass_.indices) write_assignment();
    if (pass_.wants_losses()) add_losses();
    if (pass_.wants_statistics()) add_peaks();
    if (pass_.output || pass_.weights || pass_.wants_statistics()) soften();
    if (pass_.output) write_output();
    if (pass_.wants_statistics()) add_statistics();
  }

  // The two best of some items; the lower item wins a tie.
  struct Best {
    A first_score = -A(INFINITY), second_score = -A(INFINITY);
    int first = INT_MAX, second = INT_MAX;

    __device__ void offer(A score, int item) {
      if (score > first_score || (score == first_score && item < first)) {
        second_score = first_score, second = first;
        first_score = score, first = item;
      } else if (score > second_score || (score == second_score && item < second)) {
        second_score = score, second = item;
      }
    }
  };

  // Makes scores of dot products and finds the best two of every position.
  __device__ void rank() {
    const Seat seat(shape_);
    const int t = seat.position;
    const A inverse = at_.inverse[t];
    // The sum of squares of a finite query may overflow: its unit vector is 0 then, and so are its scores.
    const bool finite = at_.finite[t], overflow = inverse == 0 && finite;
    Best best;
    for (int64_t m = seat.group; m < M_; m += seat.groups) {
      A& score = scores_[m * shape_.positions + t];
      score = overflow ? A(0) : finite ? score * inverse : A(NAN);
      best.offer(score, int(m));
    }
    int* items = reinterpret_cast<int*>(buffer_ + 2 * kThreads);
    buffer_[threadIdx.x] = best.first_score, buffer_[kThreads + threadIdx.x] = best.second_score;
    items[threadIdx.x] = best.first, items[kThreads + threadIdx.x] = best.second;
    __syncthreads();
    if (seat.group == 0) {
      for (int i = t + shape_.positions; i < kThreads; i += shape_.positions) {
        best.offer(buffer_[i], items[i]);
        best.offer(buffer_[kThreads + i], items[kThreads + i]);
      }
      const bool ranked = best.first < M_;  // not so where scores are NaN
      at_.first[t] = ranked ? best.first : 0;
      at_.second[t] = ranked && best.second < M_ ? best.second : M_ > 1 ? 1 : 0;
      at_.peak[t] = ranked ? best.first_score : A(NAN);
      at_.exp_peak[t] = exp(at_.peak[t]);
    }
    __syncthreads();
  }

  __device__ void write_assignment() {
    const int t = threadIdx.x;
    if (t >= n_) return;
    const int64_t to = b_ * 2 * P_ + position_ + t;
    pass_.indices[to] = at_.first[t], pass_.indices[to + P_] = at_.second[t];
    if (!pass_.scores) return;
    A* scores = static_cast<A*>(pass_.scores) + to;
    scores[0] = scores_[int64_t{at_.first[t]} * shape_.positions + t];
    scores[P_] = scores_[int64_t{at_.second[t]} * shape_.positions + t];
  }

  __device__ void add_losses() {
    measure_differences(queries_, shape_, items_, items_pitch_, buffer_, at_);
    const int t = threadIdx.x;
    if (t < n_) {
      const A near = distance(at_, 0, t, C_), far = distance(at_, 1, t, C_), margin = near - far + A(kMargin);
      A* distances = static_cast<A*>(pass_.distances) + b_ * 2 * P_ + position_ + t;
      distances[0] = near, distances[P_] = far;
      at_.total[t] = margin < 0 ? A(0) : margin;  // until the softmax has a total
    }
    __syncthreads();
    if (t != 0) return;
    for (int i = 0; i < n_; ++i) {
      compactness_ += at_.sums[0][i];
      separateness_ += at_.total[i];
    }
  }

  // The part of the statistics that needs scores; item m is its thread's own.
  __device__ void add_peaks() {
    for (int64_t m = threadIdx.x; m < M_; m += kThreads) {
      A all = partial_.peak_all[m], assigned = partial_.peak_assigned[m];
      int64_t count = partial_.counts[m];
      for (int t = 0; t < n_; ++t) {
        if (!at_.finite[t]) continue;
        const A score = scores_[m * shape_.positions + t];
        all = score > all ? score : all;
        if (at_.first[t] != m) continue;
        assigned = score > assigned ? score : assigned;
        ++count;
      }
      partial_.peak_all[m] = all, partial_.peak_assigned[m] = assigned, partial_.counts[m] = count;
    }
    __syncthreads();
  }

  // Turns scores into weights, the softmax over the items.
  __device__ void soften() {
    const Seat seat(shape_);
    const int t = seat.position;
    A sum[1] = {};
    for (int64_t m = seat.group; m < M_; m += seat.groups) {
      A& score = scores_[m * shape_.positions + t];
      score = exp(score - at_.peak[t]);
      sum[0] += score;
    }
    reduce_groups(sum, shape_, buffer_, [&](int, int position, A total) { at_.total[position] = total; });
    A* weights = static_cast<A*>(pass_.weights);
    for (int64_t m = seat.group; m < M_; m += seat.groups) {
      A& weight = scores_[m * shape_.positions + t];
      weight /= at_.total[t];
      if (weights && t < n_) weights[(b_ * M_ + m) * P_ + position_ + t] = weight;
    }
    __syncthreads();
  }

  __device__ void write_output() {
    const Strides strides = pass_.output_strides;
    const auto queries = Base::tile_of(static_cast<T*>(pass_.output), strides);
    const auto readouts = Base::tile_of(static_cast<T*>(pass_.output), strides, C_);
    for_each_pack<T>(shape_, [&](int row, int i) {
      alignas(16) T stored[kPack<T>];
      A values[kPack<T>];
      copy_aligned<16>(stored, queries_ + row * shape_.pitch + i);
#pragma unroll
      for (int v = 0; v < kPack<T>; ++v) values[v] = widen(stored[v]) * at_.inverse[shape_.channels_last ? row : i + v];
      queries.store(row, i, values);
    });
    mix<T>(scores_, shape_, items_, items_pitch_, M_,
           [&](int row, int i, const A(&values)[kPack<T>]) { readouts.store(row, i, values); });
  }

  // Totals, item m by its own thread; weighted sums, channel c by its own thread.
  __device__ void add_statistics() {
    for (int64_t m = threadIdx.x; m < M_; m += kThreads) {
      A total = partial_.total[m];
      for (int t = 0; t < n_; ++t)
        if (at_.finite[t]) total += scores_[m * shape_.positions + t] * (at_.total[t] * at_.exp_peak[t]);
      partial_.total[m] = total;
    }
    for (int c = threadIdx.x; c < shape_.channels; c += kThreads) {
      int item = at_.first[0];
      A run = 0;  // of neighbours with the same nearest item
      for (int t = 0; t < n_; ++t) {
        if (!at_.finite[t]) continue;
        if (at_.first[t] != item) {
          sums_[int64_t{item} * shape_.channels + c] += run;
          item = at_.first[t], run = 0;
        }
        run += at_.exp_peak[t] * at_.inverse[t] * widen(queries_[shape_.at(c, t)]);
      }
      sums_[int64_t{item} * shape_.channels + c] += run;
    }
  }

  const Forward& pass_;
  A compactness_ = 0, separateness_ = 0;  // thread 0 has them
};

template <class T, bool kAllShared>
__global__ void __launch_bounds__(kThreads, 2) forward_kernel(Forward pass, Plan plan, char* scratch) {
  DYN_SHARED(shared);
  ForwardChunk<T, kAllShared>(pass, plan, scratch, shared).run();
}

Needs needs_of(const Forward& pass) {
  Needs needs;
  needs.sums = pass.wants_statistics();
  return needs;
}

}  // namespace

size_t forward_scratch(const Forward& pass) { return scratch_of(pass, needs_of(pass)); }

cudaError_t forward(const Forward& pass, void* scratch, cudaStream_t stream) {
  char* bytes = static_cast<char*>(scratch);
  return run_planned(pass, needs_of(pass), [&](auto storage, const Plan& plan) {
    using T = decltype(storage);
    using A = Computing<T>;
    const auto all_shared = forward_kernel<T, true>, any = forward_kernel<T, false>;
    const cudaError_t error = launch_chunks<A>(all_shared, any, pass, plan, bytes, stream);
    if (error != cudaSuccess) return error;
    return finish(Sums<A>{pass.shape, plan, bytes, pass.statistics, pass.compactness, pass.separateness}, stream);
  });
}

}  // namespace mnad::cuda
