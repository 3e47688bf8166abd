// What a block of the forward and of the backward kernel has in common: its arrays, its run of tiles, its sums; and on
// the host, how both are launched.
#pragma once

#include "cuda/block.cuh"
#include "cuda/finish.cuh"

namespace mnad::cuda {

// A block's chunk of a pass whose features are of type T. `kAllShared`: all its arrays lie in shared memory.
template <class T, bool kAllShared>
class Chunk {
 protected:
  using A = Computing<T>;

  __device__ Chunk(const Shape& shape, const void* items, bool sums, const Plan& plan, char* scratch, char* shared)
      : plan_(plan),
        shape_(plan),
        M_(shape.M),
        C_(shape.C),
        P_(shape.P),
        b_(blockIdx.x / plan.chunks_per_sample),
        items_pitch_(plan.items_pitch),
        shared_(shared),
        own_scratch_(scratch + plan.chunks_at + int64_t{blockIdx.x} * int64_t(plan.scratch_per_chunk)),
        partial_(scratch, blockIdx.x, sums ? M_ : 0, plan.channels),
        at_(*array<Positions<A>>(plan.positions)),
        buffer_(array<A>(plan.reduction)),
        queries_(array<T>(plan.queries)),
        scores_(array<A>(plan.scores)),
        sums_(!sums                            ? nullptr
              : kAllShared || plan.sums.shared ? array<A>(plan.sums)
                                               : partial_.rows) {
    const int64_t memory = shape.items_per_sample ? b_ : 0;
    if (kAllShared || plan.items.shared) {
      A* own = array<A>(plan.items);
      load_items(static_cast<const A*>(items) + memory * M_ * C_, M_, C_, items_pitch_, own);
      items_ = own;
    } else {
      items_ = reinterpret_cast<const A*>(scratch + plan.items_at) + memory * M_ * items_pitch_;
    }
    if (sums)
      for (int64_t i = threadIdx.x; i < M_ * shape_.channels; i += kThreads) sums_[i] = 0;
  }

  // Finds one of the block's arrays.
  template <class E>
  __device__ E* array(const Place& place) const {
    return reinterpret_cast<E*>((kAllShared || place.shared ? shared_ : own_scratch_) + place.offset);
  }

  // Calls f() for every tile, with position_ and n_ set; the threads are together after each.
  template <class F>
  __device__ void for_each_tile(F&& f) {
    const int64_t length = plan_.tiles_per_chunk * shape_.positions;
    const int64_t begin = blockIdx.x % plan_.chunks_per_sample * length,
                  end = begin + length < P_ ? begin + length : P_;
    for (position_ = begin; position_ < end; position_ += shape_.positions) {
      n_ = int(end - position_ < shape_.positions ? end - position_ : shape_.positions);
      f();
      __syncthreads();
    }
  }

  // The tile's part of a map of the sample, from channel `channel` on.
  template <class E>
  __device__ TileMap<E> tile_of(E* map, Strides strides, int64_t channel = 0) const {
    return TileMap<E>(map + b_ * strides.b + channel * strides.c + position_ * strides.p, strides, shape_, C_, n_);
  }

  // Leaves the sums to the second kernel.
  __device__ void write_sums() {
    if (sums_ && sums_ != partial_.rows)
      for (int64_t i = threadIdx.x; i < M_ * shape_.channels; i += kThreads) partial_.rows[i] = sums_[i];
  }

  const Plan& plan_;
  const TileShape shape_;
  const int64_t M_, C_, P_, b_;
  const int items_pitch_;
  char* const shared_;
  char* const own_scratch_;
  Partial<A> partial_;
  Positions<A>& at_;
  A* const buffer_;  // for reductions
  T* const queries_;
  A* const scores_;  // (M, positions)
  A* const sums_;    // (M, channels) or null
  const A* items_;
  int64_t position_ = 0;  // of the tile
  int n_ = 0;             // positions of the tile that lie inside the map
};

template <class Pass>
using PassKernel = void (*)(Pass, Plan, char*);

// Launches one block for each chunk.
template <class A, class Pass>
cudaError_t launch_chunks(PassKernel<Pass> all_shared, PassKernel<Pass> any, const Pass& pass, const Plan& plan,
                          char* scratch, cudaStream_t stream) {
  if (plan.chunks == 0) return cudaSuccess;
  const cudaError_t error = pad_items(pass.shape, static_cast<const A*>(pass.items), plan, scratch, stream);
  if (error != cudaSuccess) return error;
  return launch(plan.all_shared() ? all_shared : any, dim3(unsigned(plan.chunks)), dim3(kThreads), plan.shared_bytes,
                stream, pass, plan, scratch);
}

// Calls f(value of the type that `dtype` stands for).
template <class F>
cudaError_t dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::bf16:
      return f(__nv_bfloat16{});
    case DType::f16:
      return f(__half{});
  }
  return cudaErrorInvalidValue;
}

template <class Pass>
cudaError_t plan_pass(const Pass& pass, Needs needs, Plan& plan) {
  return Planner(pass.shape, pass.dtype, pass.features_strides, needs).plan(plan);
}

template <class Pass>
size_t scratch_of(const Pass& pass, Needs needs) {
  Plan plan;
  return plan_pass(pass, needs, plan) == cudaSuccess ? plan.scratch_bytes : 0;
}

// Plans a pass and calls f(value of the type of its features, plan).
template <class Pass, class F>
cudaError_t run_planned(const Pass& pass, Needs needs, F&& f) {
  Plan plan;
  const cudaError_t error = plan_pass(pass, needs, plan);
  if (error != cudaSuccess) return error;
  return dispatch(pass.dtype, [&](auto storage) { return f(storage, plan); });
}

}  // namespace mnad::cuda
