// The backward pass: one look at the features and at each gradient that comes.
//
// What it cannot do without, in float32 at C = 512, P = 1024, M = 10, with the gradients of the queries' half of the
// output and of the losses (features, gradient and indices in, gradient out):
//   B =  1:    6.3 MB,   10 MFLOP
//   B =  4:   25.2 MB,   42 MFLOP
//   B = 64:  403.7 MB,  671 MFLOP
// With the gradient through the weights or to the items, the readout's half comes in as well: a third more.
#include "cuda/chunk.cuh"
#include "cuda/launchers.h"

namespace mnad::cuda {
namespace {

template <class T, bool kAllShared>
class BackwardChunk : Chunk<T, kAllShared> {
  using Base = Chunk<T, kAllShared>;
  using A = typename Base::A;
  using Base::at_, Base::b_, Base::buffer_, Base::C_, Base::items_, Base::items_pitch_, Base::M_, Base::n_, Base::P_;
  using Base::position_, Base::queries_, Base::shape_, Base::sums_;

 public:
  __device__ BackwardChunk(const Backward& pass, const Plan& plan, char* scratch, char* shared)
      : Base(pass.shape, pass.items, pass.grad_items != nullptr, plan, scratch, shared),
        pass_(pass),
        weights_(Base::scores_),
        grad_query_(Base::template array<A>(plan.grad_query)),
        grad_readout_(plan.grad_readout.present() ? Base::template array<T>(plan.grad_readout) : nullptr),
        grad_scores_(plan.grad_scores.present() ? Base::template array<A>(plan.grad_scores) : nullptr) {}

  __device__ void run() {
    Base::for_each_tile([&] { run_tile(); });
    Base::write_sums();
  }

 private:
  __device__ void run_tile() {
    load();
    __syncthreads();
    measure(queries_, shape_, buffer_, at_);
    if (pass_.wants_score_gradient()) add_score_gradient();
    if (pass_.indices) add_losses();
    if (pass_.grad_items) add_to_items();
    if (pass_.grad_features) write_features();
  }

  __device__ void load() {
    load_tile(Base::tile_of(static_cast<const T*>(pass_.features), pass_.features_strides), shape_, queries_);
    const T* grad = static_cast<const T*>(pass_.grad_output);
    const Strides strides = pass_.grad_output_strides;
    if (grad) {
      load_tile(Base::tile_of(grad, strides), shape_, grad_query_);
      if (grad_readout_) load_tile(Base::tile_of(grad, strides, C_), shape_, grad_readout_);
    } else {
      for (int i = threadIdx.x; i < shape_.rows() * shape_.pitch; i += kThreads) grad_query_[i] = 0;
    }
    const Seat seat(shape_);
    const A* weights = static_cast<const A*>(pass_.weights) + b_ * M_ * P_ + position_ + seat.position;
    for (int64_t m = seat.group; m < M_; m += seat.groups)
      weights_[m * shape_.positions + seat.position] = seat.position < n_ ? weights[m * P_] : A(0);
    if (pass_.indices && int(threadIdx.x) < shape_.positions) {
      const int64_t* indices = pass_.indices + b_ * 2 * P_ + position_ + threadIdx.x;
      at_.first[threadIdx.x] = int(threadIdx.x) < n_ ? int(indices[0]) : 0;
      at_.second[threadIdx.x] = int(threadIdx.x) < n_ ? int(indices[P_]) : 0;
    }
  }

  // grad_scores = w (g - sum over the items of w g), and what follows of it for the query.
  __device__ void add_score_gradient() {
    const Seat seat(shape_);
    const int t = seat.position;
    const bool through = pass_.grad_through_weights && pass_.grad_output;
    if (through) dots(grad_readout_, shape_, items_, items_pitch_, M_, buffer_, grad_scores_);
    const A* grad = static_cast<const A*>(pass_.grad_weights);
    A mean[1] = {};
    for (int64_t m = seat.group; m < M_; m += seat.groups) {
      const int64_t i = m * shape_.positions + t;
      grad_scores_[i] =
          (through ? grad_scores_[i] : A(0)) + (grad && t < n_ ? grad[(b_ * M_ + m) * P_ + position_ + t] : A(0));
      mean[0] += weights_[i] * grad_scores_[i];
    }
    reduce_groups(mean, shape_, buffer_, [&](int, int position, A total) { at_.total[position] = total; });
    for (int64_t m = seat.group; m < M_; m += seat.groups) {
      const int64_t i = m * shape_.positions + t;
      grad_scores_[i] = weights_[i] * (grad_scores_[i] - at_.total[t]);
    }
    __syncthreads();
    mix<T>(grad_scores_, shape_, items_, items_pitch_, M_, [&](int row, int i, const A(&values)[kPack<T>]) {
#pragma unroll
      for (int v = 0; v < kPack<T>; ++v) grad_query_[row * shape_.pitch + i + v] += values[v];
    });
    __syncthreads();
  }

  // Adds to grad_query what comes from the losses: pull (q - p_first), near ((q - p_first + eps) / d_first) and
  // far ((q - p_second + eps) / d_second), the last two where the margin is not met.
  __device__ void add_losses() {
    const A* compactness = static_cast<const A*>(pass_.grad_compactness);
    const A* separateness = static_cast<const A*>(pass_.grad_separateness);
    const A pull = compactness ? compactness[b_] * 2 / (A(C_) * A(P_)) : A(0);
    const A push = separateness ? separateness[b_] / A(P_) : A(0);
    const Seat seat(shape_);
    const int t = seat.position;
    A near = 0, far = 0;
    if (separateness && t < n_) {
      const A* distances = static_cast<const A*>(pass_.distances) + b_ * 2 * P_ + position_ + t;
      const A d_first = distances[0], d_second = distances[P_];
      if (!(d_first - d_second + A(kMargin) < 0)) {
        near = d_first == 0 ? A(0) : push / d_first;
        far = d_second == 0 ? A(0) : -push / d_second;
      }
    }
    const A* first = items_ + int64_t{at_.first[t]} * items_pitch_;
    const A* second = items_ + int64_t{at_.second[t]} * items_pitch_;
    const A on_query = (pull + near + far) * at_.inverse[t], on_first = pull + near;
    const A shift = (near + far) * A(kDistanceEps);
    for_each_quad(shape_, seat, [&](int c) {
      A x[4];
      load_quad(queries_, shape_, c, t, x);
#pragma unroll
      for (int v = 0; v < 4; ++v)
        grad_query_[shape_.at(c + v, t)] += on_query * x[v] - on_first * first[c + v] - far * second[c + v] + shift;
    });
    __syncthreads();
  }

  // Channel c is its thread's own.
  __device__ void add_to_items() {
    const bool from_readout = pass_.grad_output, from_scores = pass_.wants_score_gradient();
    for (int c = threadIdx.x; c < shape_.channels; c += kThreads) {
      for (int64_t m = 0; m < M_; ++m) {
        A sum = 0;
        for (int t = 0; t < n_; ++t) {
          const int64_t i = m * shape_.positions + t;
          if (from_readout) sum += weights_[i] * widen(grad_readout_[shape_.at(c, t)]);
          if (from_scores) sum += grad_scores_[i] * at_.inverse[t] * widen(queries_[shape_.at(c, t)]);
        }
        sums_[m * shape_.channels + c] += sum;
      }
    }
  }

  // grad_x = (g - q (q . g)) / |x|, or g / eps where the norm is below eps.
  __device__ void write_features() {
    const Seat seat(shape_);
    A along[1] = {};
    for_each_quad(shape_, seat, [&](int c) {
      A x[4], g[4];
      load_quad(queries_, shape_, c, seat.position, x);
      load_quad(grad_query_, shape_, c, seat.position, g);
#pragma unroll
      for (int v = 0; v < 4; ++v) along[0] += x[v] * g[v];
    });
    reduce_groups(along, shape_, buffer_, [&](int, int position, A total) {
      const A inverse = at_.inverse[position];
      // Below eps, or overflown: no part along q.
      at_.total[position] = at_.at_floor[position] || inverse == 0 ? A(0) : total * inverse * inverse;
    });
    const auto grad = Base::tile_of(static_cast<T*>(pass_.grad_features), pass_.grad_features_strides);
    for_each_pack<T>(shape_, [&](int row, int i) {
      A values[kPack<T>];
#pragma unroll
      for (int v = 0; v < kPack<T>; ++v) {
        const int t = shape_.channels_last ? row : i + v, element = row * shape_.pitch + i + v;
        values[v] = (grad_query_[element] - at_.total[t] * widen(queries_[element])) * at_.inverse[t];
      }
      grad.store(row, i, values);
    });
  }

  const Backward& pass_;
  A* const weights_;       // (M, positions)
  A* const grad_query_;    // like the tile, in the computing type
  T* const grad_readout_;  // like the tile, or null
  A* const grad_scores_;   // (M, positions) or null
};

template <class T, bool kAllShared>
__global__ void __launch_bounds__(kThreads, 2) backward_kernel(Backward pass, Plan plan, char* scratch) {
  DYN_SHARED(shared);
  BackwardChunk<T, kAllShared>(pass, plan, scratch, shared).run();
}

Needs needs_of(const Backward& pass) {
  Needs needs;
  needs.grad_query = true;
  needs.grad_readout = pass.grad_output && (pass.grad_through_weights || pass.grad_items);
  needs.grad_scores = pass.wants_score_gradient();
  needs.sums = pass.grad_items != nullptr;
  return needs;
}

}  // namespace

size_t backward_scratch(const Backward& pass) { return scratch_of(pass, needs_of(pass)); }

cudaError_t backward(const Backward& pass, void* scratch, cudaStream_t stream) {
  char* bytes = static_cast<char*>(scratch);
  Statistics grad_items{};
  grad_items.weighted_sum = pass.grad_items;
  return run_planned(pass, needs_of(pass), [&](auto storage, const Plan& plan) {
    using T = decltype(storage);
    using A = Computing<T>;
    const auto all_shared = backward_kernel<T, true>, any = backward_kernel<T, false>;
    const cudaError_t error = launch_chunks<A>(all_shared, any, pass, plan, bytes, stream);
    if (error != cudaSuccess) return error;
    return finish(Sums<A>{pass.shape, plan, bytes, grad_items, nullptr, nullptr}, stream);
  });
}

}  // namespace mnad::cuda
