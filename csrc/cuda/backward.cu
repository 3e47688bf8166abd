// The backward pass: one look at the features and at each gradient that comes.
//
// What it cannot do without, in float32 at C = 512, P = 1024, M = 10, with the gradients of the queries' half of the
// output and of the losses (features, gradient and indices in, gradient out):
//   B =  1:    6.3 MB,   10 MFLOP
//   B =  4:   25.2 MB,   42 MFLOP
//   B = 64:  403.7 MB,  671 MFLOP
// With the gradient through the weights or to the items, the readout's half comes in as well: a third more.
#include "cuda/block.cuh"
#include "cuda/finish.cuh"
#include "cuda/launchers.h"

namespace mnad::cuda {
namespace {

bool wants_grad_readout(const Backward& pass) {
  return pass.grad_output && (pass.grad_through_weights || pass.grad_items);
}

template <class T, bool kAllShared>
class BackwardTile {
  using A = Computing<T>;

 public:
  __device__ BackwardTile(const Backward& pass, const Plan& plan, char* scratch, char* shared)
      : pass_(pass),
        shape_(plan),
        M_(pass.shape.M),
        C_(pass.shape.C),
        P_(pass.shape.P),
        chunk_(blockIdx.x),
        b_(chunk_ / plan.chunks_per_sample),
        items_pitch_(plan.items_pitch),
        partial_(scratch, chunk_, pass.grad_items ? M_ : 0, plan.channels) {
    char* own = scratch + plan.chunks_at + chunk_ * int64_t(plan.scratch_per_chunk);
    at_ = array_at<true, Positions<A>>(plan.positions, shared, own);
    buffer_ = array_at<true, A>(plan.reduction, shared, own);
    queries_ = array_at<kAllShared, T>(plan.queries, shared, own);
    grad_query_ = array_at<kAllShared, A>(plan.grad_query, shared, own);
    weights_ = array_at<kAllShared, A>(plan.scores, shared, own);
    if (plan.grad_readout.present()) grad_readout_ = array_at<kAllShared, T>(plan.grad_readout, shared, own);
    if (plan.grad_scores.present()) grad_scores_ = array_at<kAllShared, A>(plan.grad_scores, shared, own);
    const int64_t memory = pass.shape.items_per_sample ? b_ : 0;
    if (kAllShared || plan.items.shared) {
      A* items = array_at<true, A>(plan.items, shared, own);
      load_items(static_cast<const A*>(pass.items) + memory * M_ * C_, M_, C_, items_pitch_, items);
      items_ = items;
    } else {
      items_ = reinterpret_cast<const A*>(scratch + plan.items_at) + memory * M_ * items_pitch_;
    }
    if (pass.grad_items)
      sums_ = kAllShared || plan.sums.shared ? array_at<true, A>(plan.sums, shared, own) : partial_.rows;
  }

  // All tiles of the block's chunk.
  __device__ void run(const Plan& plan) {
    const int64_t count = pass_.grad_items ? M_ * shape_.channels : 0;
    for (int64_t i = threadIdx.x; i < count; i += kThreads) sums_[i] = 0;
    const int64_t begin = chunk_ % plan.chunks_per_sample * plan.tiles_per_chunk * shape_.positions;
    const int64_t length = plan.tiles_per_chunk * shape_.positions;
    const int64_t end = begin + length < P_ ? begin + length : P_;
    for (int64_t position = begin; position < end; position += shape_.positions)
      run_tile(position, int(end - position < shape_.positions ? end - position : shape_.positions));
    if (count > 0 && sums_ != partial_.rows)
      for (int64_t i = threadIdx.x; i < count; i += kThreads) partial_.rows[i] = sums_[i];
  }

 private:
  __device__ void run_tile(int64_t position, int n) {
    position_ = position, n_ = n;
    load();
    __syncthreads();
    measure(queries_, shape_, buffer_, *at_);
    if (pass_.wants_score_gradient()) add_score_gradient();
    if (pass_.indices) add_losses();
    if (pass_.grad_items) add_to_items();
    if (pass_.grad_features) write_features();
    __syncthreads();
  }

  __device__ void load() {
    const Strides s = pass_.features_strides, g = pass_.grad_output_strides;
    const T* features = static_cast<const T*>(pass_.features) + b_ * s.b + position_ * s.p;
    load_tile(TileMap<const T>(features, s, shape_, C_, n_), shape_, queries_);
    if (pass_.grad_output) {
      const T* grad = static_cast<const T*>(pass_.grad_output) + b_ * g.b + position_ * g.p;
      load_tile(TileMap<const T>(grad, g, shape_, C_, n_), shape_, grad_query_);
      if (grad_readout_) load_tile(TileMap<const T>(grad + C_ * g.c, g, shape_, C_, n_), shape_, grad_readout_);
    } else {
      for (int i = threadIdx.x; i < shape_.rows() * shape_.pitch; i += kThreads) grad_query_[i] = 0;
    }
    const Seat seat(shape_);
    const A* weights = static_cast<const A*>(pass_.weights) + b_ * M_ * P_ + position_ + seat.position;
    for (int64_t m = seat.group; m < M_; m += seat.groups)
      weights_[m * shape_.positions + seat.position] = seat.position < n_ ? weights[m * P_] : A(0);
    if (pass_.indices && int(threadIdx.x) < shape_.positions) {
      const int64_t* indices = pass_.indices + b_ * 2 * P_ + position_ + threadIdx.x;
      at_->first[threadIdx.x] = int(threadIdx.x) < n_ ? int(indices[0]) : 0;
      at_->second[threadIdx.x] = int(threadIdx.x) < n_ ? int(indices[P_]) : 0;
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
    reduce_groups(mean, shape_, buffer_, [&](int, int position, A total) { at_->total[position] = total; });
    for (int64_t m = seat.group; m < M_; m += seat.groups) {
      const int64_t i = m * shape_.positions + t;
      grad_scores_[i] = weights_[i] * (grad_scores_[i] - at_->total[t]);
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
    if (separateness) {
      measure_differences(queries_, shape_, items_, items_pitch_, buffer_, *at_);
      const A d_first = distance(*at_, 0, t, C_), d_second = distance(*at_, 1, t, C_);
      if (!(d_first - d_second + A(kMargin) < 0)) {
        near = d_first == 0 ? A(0) : push / d_first;
        far = d_second == 0 ? A(0) : -push / d_second;
      }
    }
    const A* first = items_ + int64_t{at_->first[t]} * items_pitch_;
    const A* second = items_ + int64_t{at_->second[t]} * items_pitch_;
    const A on_query = (pull + near + far) * at_->inverse[t], on_first = pull + near;
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
          if (from_scores) sum += grad_scores_[i] * at_->inverse[t] * widen(queries_[shape_.at(c, t)]);
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
      const A inverse = at_->inverse[position];
      // Below eps, or overflown: no part along q.
      at_->total[position] = at_->at_floor[position] || inverse == 0 ? A(0) : total * inverse * inverse;
    });
    const Strides s = pass_.grad_features_strides;
    const TileMap<T> grad(static_cast<T*>(pass_.grad_features) + b_ * s.b + position_ * s.p, s, shape_, C_, n_);
    for_each_pack<T>(shape_, [&](int row, int i) {
      A values[kPack<T>];
#pragma unroll
      for (int v = 0; v < kPack<T>; ++v) {
        const int t = shape_.channels_last ? row : i + v, element = row * shape_.pitch + i + v;
        values[v] = (grad_query_[element] - at_->total[t] * widen(queries_[element])) * at_->inverse[t];
      }
      grad.store(row, i, values);
    });
  }

  const Backward& pass_;
  const TileShape shape_;
  const int64_t M_, C_, P_, chunk_, b_;
  const int items_pitch_;
  Partial<A> partial_;
  Positions<A>* at_;
  A* buffer_;
  T* queries_;
  A* grad_query_;
  A* weights_;
  T* grad_readout_ = nullptr;
  A* grad_scores_ = nullptr;
  const A* items_;
  A* sums_ = nullptr;
  int64_t position_ = 0;
  int n_ = 0;
};

template <class T, bool kAllShared>
__global__ void __launch_bounds__(kThreads, 2) backward_kernel(Backward pass, Plan plan, char* scratch) {
  DYN_SHARED(shared);
  BackwardTile<T, kAllShared> tile(pass, plan, scratch, shared);
  tile.run(plan);
}

template <class T>
cudaError_t run(const Backward& pass, const Plan& plan, char* scratch, cudaStream_t stream) {
  using A = Computing<T>;
  if (plan.chunks > 0) {
    cudaError_t error = pad_items<A>(pass.shape, static_cast<const A*>(pass.items), plan, scratch, stream);
    if (error != cudaSuccess) return error;
    const auto kernel = plan.all_shared() ? backward_kernel<T, true> : backward_kernel<T, false>;
    error = launch(kernel, dim3(unsigned(plan.chunks)), dim3(kThreads), plan.shared_bytes, stream, pass, plan, scratch);
    if (error != cudaSuccess) return error;
  }
  Statistics grad_items{};
  grad_items.weighted_sum = pass.grad_items;
  return finish(Sums<A>{pass.shape, plan, scratch, grad_items, nullptr, nullptr}, stream);
}

cudaError_t plan_backward(const Backward& pass, Plan& plan) {
  Needs needs;
  needs.grad_query = true;
  needs.grad_readout = wants_grad_readout(pass);
  needs.grad_scores = pass.wants_score_gradient();
  needs.sums = pass.grad_items != nullptr;
  return Planner(pass.shape, pass.dtype, pass.features_strides, needs).plan(plan);
}

}  // namespace

size_t backward_scratch(const Backward& pass) {
  Plan plan;
  return plan_backward(pass, plan) == cudaSuccess ? plan.scratch_bytes : 0;
}

cudaError_t backward(const Backward& pass, void* scratch, cudaStream_t stream) {
  Plan plan;
  const cudaError_t error = plan_backward(pass, plan);
  if (error != cudaSuccess) return error;
  char* bytes = static_cast<char*>(scratch);
  switch (pass.dtype) {
    case DType::f32:
      return run<float>(pass, plan, bytes, stream);
    case DType::f64:
      return run<double>(pass, plan, bytes, stream);
    case DType::bf16:
      return run<__nv_bfloat16>(pass, plan, bytes, stream);
    case DType::f16:
      return run<__half>(pass, plan, bytes, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace mnad::cuda
