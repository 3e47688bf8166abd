// The forward pass on tiles of queries: read, top two, losses and update statistics while a tile is in the
// cache.
#include <algorithm>

#include "cpu/plan.h"
#include "cpu/rows.h"
#include "cpu/tile.h"
#include "cpu/tile_kernels.h"

namespace mnad::cpu::MNAD_ISA {
namespace {

template <class T, class A>
class ForwardTile {
 public:
  ForwardTile(const Forward& pass, const void* items, void* scratch)
      : pass_(pass), M_(pass.shape.M), C_(pass.shape.C), length_(padded<A>(C_)) {
    items_ = static_cast<const A*>(items);
    Arena arena(scratch);
    queries_ = {arena.take<A>(kMaxTile * length_), length_};
    readout_ = {arena.take<A>(kMaxTile * length_), length_};
    scores_ = {arena.take<A>(kMaxTile * padded<A>(M_)), padded<A>(M_)};
    weights_ = {arena.take<A>(kMaxTile * padded<A>(M_)), padded<A>(M_)};
  }

  // Positions [position, position + n) of sample b.
  void run(int64_t b, int64_t position, int64_t n, Partial<A> partial) {
    b_ = b, position_ = position, n_ = n;
    sample_items_ = items_ + (pass_.shape.items_per_sample ? b * M_ * length_ : 0);
    const Strides s = pass_.features_strides;
    pack(static_cast<const T*>(pass_.features) + b * s.b + position * s.p, s, C_, n, queries_);
    score();
    if (pass_.indices || pass_.wants_losses() || pass_.wants_statistics()) rank();
    if (pass_.indices) write_assignment();
    if (pass_.wants_losses()) add_losses(partial);
    if (pass_.output || pass_.weights || pass_.wants_statistics()) soften();
    if (pass_.weights) write_weights();
    if (pass_.output) write_output();
    if (pass_.wants_statistics()) add_statistics(partial);
  }

 private:
  void score() {
    dots<A>({queries_.data, length_}, n_, sample_items_, M_, length_, scores_);
    for (int64_t t = 0; t < n_; ++t) {
      inverse_[t] = inverse_norm(queries_[t], length_);
      // The sum of squares of a finite query may overflow: its unit vector is 0 then, and so are its scores.
      const bool overflow = inverse_[t] == 0 && all_finite(queries_[t], length_);
      A* row = scores_[t];
      for (int64_t m = 0; m < M_; ++m) row[m] = overflow ? A(0) : row[m] * inverse_[t];
    }
  }

  void rank() {
    for (int64_t t = 0; t < n_; ++t) {
      const A* row = scores_[t];
      int64_t first = 0, second = M_ > 1 ? 1 : 0;
      if (M_ > 1 && row[1] > row[0]) first = 1, second = 0;
      for (int64_t m = 2; m < M_; ++m) {
        if (row[m] > row[first])
          second = first, first = m;
        else if (row[m] > row[second])
          second = m;
      }
      first_[t] = first, second_[t] = second;
    }
  }

  void write_assignment() {
    int64_t* indices = pass_.indices + b_ * 2 * pass_.shape.P + position_;
    A* scores = static_cast<A*>(pass_.scores) + b_ * 2 * pass_.shape.P + position_;
    for (int64_t t = 0; t < n_; ++t) {
      indices[t] = first_[t], indices[pass_.shape.P + t] = second_[t];
      if (!pass_.scores) continue;
      scores[t] = scores_[t][first_[t]], scores[pass_.shape.P + t] = scores_[t][second_[t]];
    }
  }

  void add_losses(Partial<A> partial) {
    for (int64_t t = 0; t < n_; ++t) {
      const auto near = difference(queries_[t], inverse_[t], sample_items_ + first_[t] * length_, length_, C_);
      const auto far = difference(queries_[t], inverse_[t], sample_items_ + second_[t] * length_, length_, C_);
      const A margin = near.distance - far.distance + A(kMargin);
      partial.losses[0] += near.square;
      partial.losses[1] += margin < 0 ? A(0) : margin;
    }
  }

  // weights = softmax over the items; keeps each row's peak for the statistics.
  void soften() {
    for (int64_t t = 0; t < n_; ++t) {
      const A* row = scores_[t];
      A* weights = weights_[t];
      A peak = row[0];
      for (int64_t m = 1; m < M_; ++m) peak = row[m] > peak ? row[m] : peak;
      for (int64_t m = 0; m < M_; ++m) weights[m] = row[m] - peak;
      for (int64_t m = M_; m < weights_.stride; ++m) weights[m] = 0;
      peak_[t] = peak;
    }
    for (int64_t i = 0; i < n_ * weights_.stride; i += kWidth<A>)
      store(weights_.data + i, exp(load(weights_.data + i)));
    for (int64_t t = 0; t < n_; ++t) {
      A* weights = weights_[t];
      A total = 0;
      for (int64_t m = 0; m < M_; ++m) total += weights[m];
      total_[t] = total;
      for (int64_t m = 0; m < M_; ++m) weights[m] /= total;
    }
  }

  void write_weights() {
    A* weights = static_cast<A*>(pass_.weights) + b_ * M_ * pass_.shape.P + position_;
    for (int64_t m = 0; m < M_; ++m)
      for (int64_t t = 0; t < n_; ++t) weights[m * pass_.shape.P + t] = weights_[t][m];
  }

  void write_output() {
    const Strides s = pass_.output_strides;
    T* output = static_cast<T*>(pass_.output) + b_ * s.b + position_ * s.p;
    unpack<T, A>(queries_, inverse_, output, s, C_, n_);
    mix(weights_, n_, sample_items_, M_, length_, readout_, false);
    unpack<T, A>(readout_, nullptr, output + C_ * s.c, s, C_, n_);
  }

  void add_statistics(Partial<A> partial) {
    for (int64_t t = 0; t < kMaxTile; ++t) exp_peak_[t] = t < n_ ? peak_[t] : A(0);
    for (int64_t t = 0; t < kMaxTile; t += kWidth<A>) store(exp_peak_ + t, exp(load(exp_peak_ + t)));
    for (int64_t t = 0; t < n_; ++t) {
      const A* row = scores_[t];
      if (row[first_[t]] != row[first_[t]]) continue;  // not finite
      const int64_t nearest = first_[t];
      const A to_exp = exp_peak_[t] * total_[t];  // weights * to_exp = exp(scores)
      for (int64_t m = 0; m < M_; ++m) {
        partial.total[m] += weights_[t][m] * to_exp;
        partial.peak_all[m] = row[m] > partial.peak_all[m] ? row[m] : partial.peak_all[m];
      }
      A& peak = partial.peak_assigned[nearest];
      peak = row[nearest] > peak ? row[nearest] : peak;
      partial.count[nearest] += 1;
      add_scaled<A>(partial.rows + nearest * length_, exp_peak_[t] * inverse_[t], queries_[t], length_);
    }
  }

  const Forward& pass_;
  const int64_t M_, C_, length_;
  const A* items_;
  const A* sample_items_ = nullptr;
  Rows<A> queries_, readout_, scores_, weights_;
  int64_t b_ = 0, position_ = 0, n_ = 0;
  A inverse_[kMaxTile], peak_[kMaxTile], exp_peak_[kMaxTile], total_[kMaxTile];
  int64_t first_[kMaxTile], second_[kMaxTile];
};

template <class T, class A>
void forward_chunks(const Forward& pass, const Plan& plan, const void* items, void* partials, void* scratch,
                    int64_t begin, int64_t end) {
  const int64_t M = pass.shape.M, length = padded<A>(pass.shape.C);
  const bool sums = pass.wants_statistics();
  ForwardTile<T, A> tile(pass, items, scratch);
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    Partial<A> partial(partials, chunk, sums ? M : 0, length);
    partial.losses[0] = partial.losses[1] = 0;
    for (int64_t m = 0; sums && m < M; ++m) {
      partial.count[m] = 0;
      partial.total[m] = 0;
      partial.peak_all[m] = partial.peak_assigned[m] = -A(INFINITY);
    }
    for (int64_t i = 0; sums && i < M * length; ++i) partial.rows[i] = 0;
    const int64_t first = chunk % plan.chunks_per_sample * plan.chunk;
    const int64_t last = std::min(first + plan.chunk, pass.shape.P);
    for (int64_t position = first; position < last; position += plan.tile)
      tile.run(chunk / plan.chunks_per_sample, position, std::min(plan.tile, last - position), partial);
  }
}

}  // namespace

void forward(const Forward& pass, const Plan& plan, const void* items, void* partials, void* scratch, int64_t begin,
             int64_t end) {
  dispatch(pass.dtype, [&](auto storage, auto computing) {
    forward_chunks<decltype(storage), decltype(computing)>(pass, plan, items, partials, scratch, begin, end);
  });
}

}  // namespace mnad::cpu::MNAD_ISA
