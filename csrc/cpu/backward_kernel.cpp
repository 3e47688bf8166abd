// The backward pass on tiles of queries: the features and each incoming gradient are read once.
#include <algorithm>
#include <cmath>

#include "cpu/arena.h"
#include "cpu/column_sums.h"
#include "cpu/column_tile.h"
#include "cpu/partials.h"
#include "cpu/plan.h"
#include "cpu/row_tile.h"
#include "cpu/scores.h"
#include "cpu/tile_kernels.h"

namespace mnad::cpu::MNAD_ISA {
namespace {

// The arrays of a BackwardTile.
template <class A, Tile<A> Kind>
struct BackwardScratch {
  A* item_columns = nullptr;
  A *queries, *grad_query, *staging;  // of the size of a tile
  A *weights, *grad_scores;           // (M, kTile)

  BackwardScratch(const Backward& pass, Arena& arena) {
    const int64_t M = pass.shape.M, C = pass.shape.C;
    if (Kind::reads_columns(pass)) item_columns = arena.take<A>(SampleItems<A>::column_elements(pass.shape));
    queries = arena.take<A>(Kind::elements(C));
    grad_query = arena.take<A>(Kind::elements(C));
    staging = arena.take<A>(Kind::elements(C));
    weights = arena.take<A>(M * kTile);
    grad_scores = arena.take<A>(M * kTile);
  }
};

template <class T, class A, Tile<A> Kind>
class BackwardTile {
 public:
  BackwardTile(const Backward& pass, const void* items, const BackwardScratch<A, Kind>& scratch)
      : pass_(pass),
        items_(items, pass.shape, scratch.item_columns),
        M_(pass.shape.M),
        C_(pass.shape.C),
        P_(pass.shape.P),
        deferred_(pass),
        queries_(scratch.queries, C_),
        grad_query_(scratch.grad_query, C_),
        grad_readout_(scratch.staging, C_),
        staging_(scratch.staging),
        weights_(scratch.weights),
        grad_scores_(scratch.grad_scores),
        gradient_{terms_, pass.indices ? first_ : nullptr, pass.indices ? second_ : nullptr, inverse_} {
    std::fill(ones_, ones_ + kTile, A(1));
  }

  // Positions [position, position + n) of sample b; `grad_items` is the chunk's (M, length) sum or null.
  void run(int64_t b, int64_t position, int64_t n, bool streamed, A* grad_items) {
    if (pass_.shape.items_per_sample && b != b_) finish();  // with the items of its own sample
    b_ = b, position_ = position, n_ = n, streamed_ = streamed;
    sample_ = items_.of(b);
    const Strides s = pass_.features_strides;
    read_maps(static_cast<const T*>(pass_.features) + b * s.b + position * s.p, s);
    inverse_norms(of_.square, inverse_);
    if (pass_.weights && (grad_items || pass_.wants_score_gradient())) read_weights();
    if (pass_.wants_score_gradient()) {
      differentiate_softmax();
      grad_query_.add_weighted_sum(grad_scores_, sample_);
      queries_.dots_with(grad_query_, of_.dot);
    }
    if (grad_items) add_to_items(grad_items);
    if (pass_.grad_features) write_features();
  }

  // Writes the gradient that is still in the tiles.
  void finish() {
    deferred_.flush([&](Target<T, A> to) { write_gradient(to); });
  }

 private:
  void read_maps(const T* features, Strides s) {
    if (!pass_.grad_output) {
      queries_.load_map(features, s, n_);
      grad_query_.fill_zero(n_);
      return queries_.multiply_with(grad_query_, of_);
    }
    const Strides grad_s = pass_.grad_output_strides;
    const T* grad = static_cast<const T*>(pass_.grad_output) + b_ * grad_s.b + position_ * grad_s.p;
    read_both(features, s, grad, grad_s);
    if (pass_.reads_grad_readout()) grad_readout_.load_map(grad + C_ * grad_s.c, grad_s, n_);
  }

  // If the gradient of the tile before is still there, it is written while these are read.
  void read_both(const T* features, Strides s, const T* grad, Strides grad_s) {
    const auto load = [&](auto... sink) {
      grad_query_.load_both(grad, grad_s, queries_, features, s, n_, of_,
                            GradientSink<decltype(sink), A>{sink, gradient_, sample_}...);
    };
    if (deferred_.load_over(n_, load)) return;
    finish();
    load();
  }

  // The tile's part of the weights, 0 beyond its end.
  void read_weights() {
    const A* from = static_cast<const A*>(pass_.weights) + b_ * M_ * P_ + position_;
    for (int64_t m = 0; m < M_; ++m) {
      std::memcpy(weights_ + m * kTile, from + m * P_, n_ * sizeof(A));
      std::fill(weights_ + m * kTile + n_, weights_ + (m + 1) * kTile, A(0));
    }
  }

  // grad_scores = w (g - sum over the items of w g)
  void differentiate_softmax() {
    if (pass_.grad_through_weights && pass_.grad_output)
      grad_readout_.dots(sample_, grad_scores_);
    else
      std::fill(grad_scores_, grad_scores_ + M_ * kTile, A(0));
    if (pass_.grad_weights) {
      const A* grad = static_cast<const A*>(pass_.grad_weights) + b_ * M_ * P_ + position_;
      for (int64_t m = 0; m < M_; ++m)
        for (int64_t t = 0; t < n_; ++t) grad_scores_[m * kTile + t] += grad[m * P_ + t];
    }
    alignas(64) A mean[kTile] = {};
    for (int64_t m = 0; m < M_; ++m)
      for (int t = 0; t < kTile; ++t) mean[t] += weights_[m * kTile + t] * grad_scores_[m * kTile + t];
    for (int64_t m = 0; m < M_; ++m)
      for (int t = 0; t < kTile; ++t) {
        A& grad = grad_scores_[m * kTile + t];
        grad = t < n_ ? weights_[m * kTile + t] * (grad - mean[t]) : A(0);
      }
  }

  // What the losses add to the gradient of the unit query: pull (q - p_first), near ((q - p_first + eps) / d_first) and
  // far ((q - p_second + eps) / d_second), the last two where the margin is not met; as factors of x and the items.
  LossTerms<A> loss_terms() {
    const auto* compactness = static_cast<const A*>(pass_.grad_compactness);
    const auto* separateness = static_cast<const A*>(pass_.grad_separateness);
    const A pull = compactness ? compactness[b_] * 2 / (A(C_) * A(P_)) : A(0);
    const A push = separateness ? separateness[b_] / A(P_) : A(0);
    const int64_t at = b_ * 2 * P_ + position_, *indices = pass_.indices + at;
    const A* scores = static_cast<const A*>(pass_.scores) + at;
    const A* distances = static_cast<const A*>(pass_.distances) + at;
    for (int64_t t = 0; t < kTile; ++t) {
      first_[t] = t < n_ ? Index<A>(indices[t]) : 0;
      second_[t] = t < n_ ? Index<A>(indices[P_ + t]) : 0;
    }
    LossTerms<A> terms{};
    for (int64_t t = 0; t < n_; ++t) {
      const A d_first = distances[t], d_second = distances[P_ + t];
      const bool met = d_first - d_second + A(kMargin) < 0;
      const A near = met || d_first == 0 ? A(0) : push / d_first, far = met || d_second == 0 ? A(0) : -push / d_second;
      terms.on_query[t] = (pull + near + far) * inverse_[t];
      terms.on_first[t] = -pull - near;
      terms.on_second[t] = -far;
      terms.shift[t] = (near + far) * A(kDistanceEps);
      // Their part along x, from x . p = (q . p) / inverse.
      const A with_items = terms.on_first[t] * scores[t] + terms.on_second[t] * scores[P_ + t];
      of_.dot[t] += terms.on_query[t] * of_.square[t] + with_items / inverse_[t] + terms.shift[t] * of_.total[t];
    }
    return terms;
  }

  void add_to_items(A* grad_items) {
    if (pass_.grad_output) grad_readout_.add_outer(weights_, ones_, M_, grad_items);
    if (pass_.wants_score_gradient()) queries_.add_outer(grad_scores_, inverse_, M_, grad_items);
  }

  // grad_x = (g - q (q . g)) / |x|, or g / eps where the norm is below eps
  void write_features() {
    terms_ = pass_.indices ? loss_terms() : LossTerms<A>{};
    for (int64_t t = 0; t < kTile; ++t) {
      const bool at_floor = std::sqrt(of_.square[t]) < A(kNormEps);
      // Below eps, or overflown: no part along q.
      terms_.on_query[t] += t >= n_ || at_floor || inverse_[t] == 0 ? A(0) : -of_.dot[t] * inverse_[t] * inverse_[t];
    }
    const Strides s = pass_.grad_features_strides;
    const Target<T, A> to{static_cast<T*>(pass_.grad_features) + b_ * s.b + position_ * s.p, s, streamed_, staging_};
    if (!deferred_.defer(n_, to)) write_gradient(to);
  }

  void write_gradient(Target<T, A> to) const { grad_query_.write_gradient(gradient_, queries_, sample_, to); }

  const Backward& pass_;
  SampleItems<A> items_;
  const int64_t M_, C_, P_;
  Items<A> sample_{};
  typename Kind::template Deferred<T> deferred_;
  Kind queries_, grad_query_, grad_readout_;
  A* staging_;  // where grad_readout_ is, until it has been used
  A *weights_, *grad_scores_;
  int64_t b_ = 0, position_ = 0, n_ = 0;
  bool streamed_ = false;
  LossTerms<A> terms_;
  Products<A> of_{};  // the queries and the gradient of the unit queries
  alignas(64) A inverse_[kTile], ones_[kTile];
  alignas(64) Index<A> first_[kTile], second_[kTile];
  const FeatureGradient<A> gradient_;
};

template <class T, class A, Tile<A> Kind>
void backward_chunks(const Backward& pass, const Plan& plan, const void* items, void* partials,
                     std::span<std::byte> scratch, int64_t begin, int64_t end) {
  const int64_t M = pass.shape.M, length = padded<A>(pass.shape.C);
  Arena arena(scratch);
  BackwardTile<T, A, Kind> tile(pass, items, BackwardScratch<A, Kind>(pass, arena));
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    A* grad_items = pass.grad_items ? Partial<A>(partials, chunk, M, length).rows : nullptr;
    if (grad_items) std::fill(grad_items, grad_items + M * length, A(0));
    const bool streamed = is_streamed(plan.streaming, chunk, begin, end);
    for_each_tile(plan, pass.shape, chunk, [&](int64_t b, int64_t position, int64_t n, bool) {
      tile.run(b, position, n, streamed, grad_items);
    });
  }
  tile.finish();
  end_stream();
}

}  // namespace

size_t backward_scratch_bytes(const Backward& pass) {
  return dispatch(pass.dtype, [&](auto, auto computing) {
    using A = decltype(computing);
    Arena counting;
    in_rows(pass) ? void(BackwardScratch<A, RowTile<A>>(pass, counting))
                  : void(BackwardScratch<A, ColumnTile<A>>(pass, counting));
    return counting.bytes();
  });
}

void backward(const Backward& pass, const Plan& plan, const void* items, void* partials, std::span<std::byte> scratch,
              int64_t begin, int64_t end) {
  dispatch(pass.dtype, [&](auto storage, auto computing) {
    using T = decltype(storage);
    using A = decltype(computing);
    const auto run = in_rows(pass) ? backward_chunks<T, A, RowTile<A>> : backward_chunks<T, A, ColumnTile<A>>;
    run(pass, plan, items, partials, scratch, begin, end);
  });
}

}  // namespace mnad::cpu::MNAD_ISA
