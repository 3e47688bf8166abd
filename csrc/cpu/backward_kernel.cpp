// The backward pass on tiles of queries: one look at the features and at each gradient that comes.
#include <algorithm>

#include "cpu/plan.h"
#include "cpu/rows.h"
#include "cpu/tile.h"
#include "cpu/tile_kernels.h"

namespace mnad::cpu::MNAD_ISA {
namespace {

template <class T, class A>
class BackwardTile {
 public:
  BackwardTile(const Backward& pass, const void* items, void* scratch)
      : pass_(pass), M_(pass.shape.M), C_(pass.shape.C), length_(padded<A>(C_)) {
    items_ = static_cast<const A*>(items);
    Arena arena(scratch);
    queries_ = {arena.take<A>(kMaxTile * length_), length_};
    grad_readout_ = {arena.take<A>(kMaxTile * length_), length_};
    grad_query_ = {arena.take<A>(kMaxTile * length_), length_};
    weights_ = {arena.take<A>(kMaxTile * padded<A>(M_)), padded<A>(M_)};
    grad_scores_ = {arena.take<A>(kMaxTile * padded<A>(M_)), padded<A>(M_)};
  }

  // Positions [position, position + n) of sample b; `grad_items` is the chunk's (M, length) sum or null.
  void run(int64_t b, int64_t position, int64_t n, A* grad_items) {
    b_ = b, position_ = position, n_ = n;
    sample_items_ = items_ + (pass_.shape.items_per_sample ? b * M_ * length_ : 0);
    const Strides s = pass_.features_strides;
    pack(static_cast<const T*>(pass_.features) + b * s.b + position * s.p, s, C_, n, queries_);
    for (int64_t t = 0; t < n; ++t) inverse_[t] = inverse_norm(queries_[t], length_, &at_floor_[t]);
    read_gradients();
    if (pass_.weights) gather(pass_.weights, weights_);
    if (pass_.wants_score_gradient()) {
      differentiate_softmax();
      mix(grad_scores_, n_, sample_items_, M_, length_, grad_query_, true);
    }
    if (pass_.indices) add_losses();
    if (grad_items) add_to_items(grad_items);
    if (pass_.grad_features) write_features();
  }

 private:
  bool wants_grad_readout() const { return pass_.grad_output && (pass_.grad_through_weights || pass_.grad_items); }

  void read_gradients() {
    if (!pass_.grad_output) {
      std::fill(grad_query_.data, grad_query_.data + n_ * length_, A(0));
      return;
    }
    const Strides s = pass_.grad_output_strides;
    const T* grad = static_cast<const T*>(pass_.grad_output) + b_ * s.b + position_ * s.p;
    pack(grad, s, C_, n_, grad_query_);
    if (wants_grad_readout()) pack(grad + C_ * s.c, s, C_, n_, grad_readout_);
  }

  // Rows of a (B, M, P) map.
  void gather(const void* map, Rows<A> rows) {
    const A* from = static_cast<const A*>(map) + b_ * M_ * pass_.shape.P + position_;
    for (int64_t m = 0; m < M_; ++m)
      for (int64_t t = 0; t < n_; ++t) rows[t][m] = from[m * pass_.shape.P + t];
  }

  void differentiate_softmax() {
    const bool through = pass_.grad_through_weights && pass_.grad_output;
    if (through) dots<A>({grad_readout_.data, length_}, n_, sample_items_, M_, length_, grad_scores_);
    const A* grad = static_cast<const A*>(pass_.grad_weights);
    if (grad) grad += b_ * M_ * pass_.shape.P + position_;
    for (int64_t t = 0; t < n_; ++t) {
      A* row = grad_scores_[t];
      A mean = 0;
      for (int64_t m = 0; m < M_; ++m) {
        row[m] = (through ? row[m] : A(0)) + (grad ? grad[m * pass_.shape.P + t] : A(0));
        mean += weights_[t][m] * row[m];
      }
      for (int64_t m = 0; m < M_; ++m) row[m] = weights_[t][m] * (row[m] - mean);
    }
  }

  // Adds to grad_query what comes from the losses: a (q - p_first), b ((q - p_first + eps) / d_first) and
  // -b ((q - p_second + eps) / d_second), the last two where the margin is not met.
  void add_losses() {
    const auto* compactness = static_cast<const A*>(pass_.grad_compactness);
    const auto* separateness = static_cast<const A*>(pass_.grad_separateness);
    const A pull = compactness ? compactness[b_] * 2 / (A(C_) * A(pass_.shape.P)) : A(0);
    const A push = separateness ? separateness[b_] / A(pass_.shape.P) : A(0);
    const int64_t* indices = pass_.indices + b_ * 2 * pass_.shape.P + position_;
    for (int64_t t = 0; t < n_; ++t) {
      const A* first = sample_items_ + indices[t] * length_;
      const A* second = sample_items_ + indices[pass_.shape.P + t] * length_;
      A near = 0, far = 0;
      if (separateness) {
        const A d_first = difference(queries_[t], inverse_[t], first, length_, C_).distance;
        const A d_second = difference(queries_[t], inverse_[t], second, length_, C_).distance;
        if (!(d_first - d_second + A(kMargin) < 0)) {
          near = d_first == 0 ? A(0) : push / d_first;
          far = d_second == 0 ? A(0) : -push / d_second;
        }
      }
      add_loss_row(t, first, second, pull, near, far);
    }
  }

  void add_loss_row(int64_t t, const A* first, const A* second, A pull, A near, A far) {
    const A* x = queries_[t];
    A* grad = grad_query_[t];
    const A on_query = (pull + near + far) * inverse_[t], on_first = pull + near;
    const A shift = (near + far) * A(kDistanceEps);
    for (int64_t c = 0; c < length_; c += kWidth<A>)
      store(grad + c,
            load(grad + c) + on_query * load(x + c) - on_first * load(first + c) - far * load(second + c) + shift);
  }

  void add_to_items(A* grad_items) {
    if (pass_.grad_output) add_outer<A>(weights_, nullptr, as_const(grad_readout_), n_, M_, length_, grad_items);
    if (pass_.wants_score_gradient())
      add_outer<A>(grad_scores_, inverse_, as_const(queries_), n_, M_, length_, grad_items);
  }

  // grad_x = (g - q (q . g)) / |x|, or g / eps where the norm is below eps
  void write_features() {
    for (int64_t t = 0; t < n_; ++t) {
      if (at_floor_[t] || inverse_[t] == 0) continue;  // below eps, or overflown: no part along q
      const A along = dot(queries_[t], grad_query_[t], length_) * inverse_[t] * inverse_[t];
      add_scaled(grad_query_[t], -along, queries_[t], length_);
    }
    const Strides s = pass_.grad_features_strides;
    T* grad = static_cast<T*>(pass_.grad_features) + b_ * s.b + position_ * s.p;
    unpack<T, A>(grad_query_, inverse_, grad, s, C_, n_);
  }

  static Rows<const A> as_const(Rows<A> rows) { return {rows.data, rows.stride}; }

  const Backward& pass_;
  const int64_t M_, C_, length_;
  const A* items_;
  const A* sample_items_ = nullptr;
  Rows<A> queries_, grad_readout_, grad_query_, weights_, grad_scores_;
  int64_t b_ = 0, position_ = 0, n_ = 0;
  A inverse_[kMaxTile];
  bool at_floor_[kMaxTile];
};

template <class T, class A>
void backward_chunks(const Backward& pass, const Plan& plan, const void* items, void* partials, void* scratch,
                     int64_t begin, int64_t end) {
  const int64_t M = pass.shape.M, length = padded<A>(pass.shape.C);
  BackwardTile<T, A> tile(pass, items, scratch);
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    A* grad_items = pass.grad_items ? Partial<A>(partials, chunk, M, length).rows : nullptr;
    if (grad_items) std::fill(grad_items, grad_items + M * length, A(0));
    const int64_t first = chunk % plan.chunks_per_sample * plan.chunk;
    const int64_t last = std::min(first + plan.chunk, pass.shape.P);
    for (int64_t position = first; position < last; position += plan.tile)
      tile.run(chunk / plan.chunks_per_sample, position, std::min(plan.tile, last - position), grad_items);
  }
}

}  // namespace

void backward(const Backward& pass, const Plan& plan, const void* items, void* partials, void* scratch, int64_t begin,
              int64_t end) {
  dispatch(pass.dtype, [&](auto storage, auto computing) {
    backward_chunks<decltype(storage), decltype(computing)>(pass, plan, items, partials, scratch, begin, end);
  });
}

}  // namespace mnad::cpu::MNAD_ISA
