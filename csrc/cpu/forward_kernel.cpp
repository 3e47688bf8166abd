// The forward pass on tiles of queries: read, top two, losses and update statistics while a tile is in the cache.
#include <algorithm>
#include <cmath>

#include "cpu/arena.h"
#include "cpu/column_tile.h"
#include "cpu/partials.h"
#include "cpu/plan.h"
#include "cpu/row_tile.h"
#include "cpu/scores.h"
#include "cpu/tile_kernels.h"

namespace mnad::cpu::MNAD_ISA {
namespace {

// The arrays of a ForwardTile.
template <class A, Tile<A> Kind>
struct ForwardScratch {
  A* item_columns = nullptr;
  A *queries, *staging;  // of the size of a tile
  A *scores, *weights;   // (M, kTile)
  int* starts;           // (M + 1)

  ForwardScratch(const Forward& pass, Arena& arena) {
    const int64_t M = pass.shape.M, C = pass.shape.C;
    if (Kind::reads_columns(pass)) item_columns = arena.take<A>(SampleItems<A>::column_elements(pass.shape));
    queries = arena.take<A>(Kind::elements(C));
    staging = arena.take<A>(Kind::elements(C));
    scores = arena.take<A>(M * kTile);
    weights = arena.take<A>(M * kTile);
    starts = arena.take<int>(M + 1);
  }
};

template <class T, class A, Tile<A> Kind>
class ForwardTile {
 public:
  ForwardTile(const Forward& pass, const void* items, const ForwardScratch<A, Kind>& scratch)
      : pass_(pass),
        items_(items, pass.shape, scratch.item_columns),
        M_(pass.shape.M),
        C_(pass.shape.C),
        P_(pass.shape.P),
        deferred_(pass),
        queries_(scratch.queries, C_),
        staging_(scratch.staging),
        scores_(scratch.scores),
        weights_(scratch.weights),
        starts_(scratch.starts) {}

  // Positions [position, position + n) of sample b. Those of the last tile of a thread are written at once.
  void run(int64_t b, int64_t position, int64_t n, bool streamed, bool last, Partial<A> partial) {
    b_ = b, position_ = position, n_ = n, streamed_ = streamed, last_ = last;
    sample_ = items_.of(b);
    load_and_score();
    normalise_scores();
    if (pass_.indices || pass_.wants_losses() || pass_.wants_statistics()) rank(scores_, M_, first_, second_);
    if (pass_.indices) write_assignment();
    if (pass_.output || pass_.weights || pass_.wants_statistics()) softmax(scores_, M_, weights_, peak_, total_);
    if (pass_.weights) write_weights();
    if (pass_.output) write_output();
    if (pass_.wants_statistics()) add_statistics(partial);
    if (compares_by_rows() || pass_.wants_statistics()) use_rows(partial);
    if (pass_.wants_losses()) add_losses(partial);
  }

  // Writes the queries that are still in the tile.
  void finish() {
    deferred_.flush([&](Target<T, A> to) { queries_.write_map(inverse_, to); });
  }

 private:
  // If the queries of the tile before are still there, they are written while these are read.
  void load_and_score() {
    const Strides s = pass_.features_strides;
    const T* features = static_cast<const T*>(pass_.features) + b_ * s.b + position_ * s.p;
    const auto load = [&](auto... sink) {
      queries_.load_and_score(features, s, n_, sample_, squares_, scores_,
                              ScaledSink<decltype(sink), A>{sink, inverse_}...);
    };
    if (deferred_.load_over(n_, load)) return;
    finish();
    load();
  }

  void normalise_scores() {
    inverse_norms(squares_, inverse_);
    for (int64_t m = 0; m < M_; ++m)
      for (int t = 0; t < kTile; t += kWidth<A>) {
        A* row = scores_ + m * kTile + t;
        store(row, load(row) * load(inverse_ + t));
      }
    // The sum of squares of a finite query may overflow: its unit vector is 0 then, and so are its scores.
    for (int64_t t = 0; t < n_; ++t)
      if (inverse_[t] == 0 && queries_.finite(t))
        for (int64_t m = 0; m < M_; ++m) scores_[m * kTile + t] = 0;
  }

  void write_assignment() {
    int64_t* indices = pass_.indices + b_ * 2 * P_ + position_;
    A* scores = static_cast<A*>(pass_.scores) + b_ * 2 * P_ + position_;
    for (int64_t t = 0; t < n_; ++t) {
      indices[t] = first_[t], indices[P_ + t] = second_[t];
      if (!pass_.scores) continue;
      scores[t] = scores_[first_[t] * kTile + t], scores[P_ + t] = scores_[second_[t] * kTile + t];
    }
  }

  void write_weights() {
    A* weights = static_cast<A*>(pass_.weights) + b_ * M_ * P_ + position_;
    for (int64_t m = 0; m < M_; ++m) std::memcpy(weights + m * P_, weights_ + m * kTile, n_ * sizeof(A));
  }

  void write_output() {
    const Strides s = pass_.output_strides;
    T* output = static_cast<T*>(pass_.output) + b_ * s.b + position_ * s.p;
    const Target<T, A> to{output, s, streamed_, staging_};
    const bool deferred = !last_ && deferred_.defer(n_, to);
    if (deferred && compares_while_writing())
      queries_.compare(inverse_, sample_, first_, second_, differences_);
    else if (compares_while_writing())
      queries_.write_and_compare(inverse_, sample_, first_, second_, to, differences_);
    else if (!deferred)
      queries_.write_map(inverse_, to);
    queries_.write_weighted_sum(weights_, sample_, to.from_channel(C_));
  }

  bool compares_while_writing() const { return pass_.wants_losses() && Kind::compares_while_writing(sample_); }
  bool compares_by_rows() const { return pass_.wants_losses() && !compares_while_writing(); }

  // What combines queries with their own items: comparisons that are not done yet, and sums of each item.
  void use_rows(Partial<A> partial) {
    const bool compares = compares_by_rows();
    queries_.by_rows(staging_, compares, [&](const RowTile<A>& rows, int64_t t, int64_t c) {
      if (compares) rows.compare(inverse_, sample_, first_, second_, differences_, t);
      if (!pass_.wants_statistics()) return;
      if (c == 0) by_item_.order(first_ + t, factor_ + t, rows.count(), M_, starts_);
      rows.add_by_item(by_item_, partial.rows + c, padded<A>(C_));
    });
  }

  void add_losses(Partial<A> partial) {
    const Differences<A>& of = differences_;
    A* distances = static_cast<A*>(pass_.distances) + b_ * 2 * P_ + position_;
    for (int64_t t = 0; t < n_; ++t) {
      distances[t] = distance(of.near_square[t], of.near_total[t], C_);
      distances[P_ + t] = distance(of.far_square[t], of.far_total[t], C_);
      const A margin = distances[t] - distances[P_ + t] + A(kMargin);
      partial.losses[0] += of.near_square[t];
      partial.losses[1] += margin < 0 ? A(0) : margin;
    }
  }

  void add_statistics(Partial<A> partial) {
    alignas(64) A to_exp[kTile];  // like the factor, 0 for what is not a finite query
    for (int t = 0; t < kTile; t += kWidth<A>) store(factor_ + t, exp(load(peak_ + t)));
    for (int64_t t = 0; t < kTile; ++t) {
      const bool counts = t < n_ && scores_[t] == scores_[t];
      to_exp[t] = counts ? factor_[t] * total_[t] : A(0);  // weights * to_exp = exp(scores)
      factor_[t] = counts ? factor_[t] * inverse_[t] : A(0);
      if (!counts) continue;
      const A score = scores_[first_[t] * kTile + t];
      A& peak = partial.peak_assigned[first_[t]];
      peak = score > peak ? score : peak;
      partial.count[first_[t]] += 1;
    }
    for (int64_t m = 0; m < M_; ++m) add_totals(m, to_exp, partial);
  }

  void add_totals(int64_t m, const A* to_exp, Partial<A> partial) {
    const Vector<A> low = broadcast(-A(INFINITY));
    Vector<A> sums{}, peaks = low;
    for (int t = 0; t < kTile; t += kWidth<A>) {
      const Vector<A> scale = load(to_exp + t), score = load(scores_ + m * kTile + t);
      const Integer<A> counts = scale > 0;
      sums += counts ? load(weights_ + m * kTile + t) * scale : sums * 0;
      peaks = larger<A>(peaks, counts ? score : low);
    }
    partial.total[m] += sum<A>(sums);
    A& peak = partial.peak_all[m];
    for (int i = 0; i < kWidth<A>; ++i) peak = peaks[i] > peak ? peaks[i] : peak;
  }

  const Forward& pass_;
  SampleItems<A> items_;
  const int64_t M_, C_, P_;
  Items<A> sample_{};
  typename Kind::template Deferred<T> deferred_;
  Kind queries_;
  A *staging_, *scores_, *weights_;
  int64_t b_ = 0, position_ = 0, n_ = 0;
  bool streamed_ = false, last_ = false;
  alignas(64) A squares_[kTile] = {}, inverse_[kTile] = {}, peak_[kTile], total_[kTile], factor_[kTile];
  Differences<A> differences_;
  alignas(64) Index<A> first_[kTile], second_[kTile];
  ByItem<A> by_item_;
  int* starts_;
};

template <class T, class A, Tile<A> Kind>
void forward_chunks(const Forward& pass, const Plan& plan, const void* items, void* partials,
                    std::span<std::byte> scratch, int64_t begin, int64_t end) {
  const int64_t M = pass.wants_statistics() ? pass.shape.M : 0;
  const int64_t length = padded<A>(pass.shape.C);
  Arena arena(scratch);
  ForwardTile<T, A, Kind> tile(pass, items, ForwardScratch<A, Kind>(pass, arena));
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    Partial<A> partial(partials, chunk, M, length);
    partial.losses[0] = partial.losses[1] = 0;
    for (int64_t m = 0; m < M; ++m) {
      partial.count[m] = 0;
      partial.total[m] = 0;
      partial.peak_all[m] = partial.peak_assigned[m] = -A(INFINITY);
    }
    std::fill(partial.rows, partial.rows + M * length, A(0));
    const bool streamed = is_streamed(plan.streaming, chunk, begin, end);
    for_each_tile(plan, pass.shape, chunk, [&](int64_t b, int64_t position, int64_t n, bool last) {
      tile.run(b, position, n, streamed, last && chunk + 1 == end, partial);
    });
  }
  tile.finish();
  end_stream();
}

}  // namespace

size_t forward_scratch_bytes(const Forward& pass) {
  return dispatch(pass.dtype, [&](auto, auto computing) {
    using A = decltype(computing);
    Arena counting;
    in_rows(pass) ? void(ForwardScratch<A, RowTile<A>>(pass, counting))
                  : void(ForwardScratch<A, ColumnTile<A>>(pass, counting));
    return counting.bytes();
  });
}

void forward(const Forward& pass, const Plan& plan, const void* items, void* partials, std::span<std::byte> scratch,
             int64_t begin, int64_t end) {
  dispatch(pass.dtype, [&](auto storage, auto computing) {
    using T = decltype(storage);
    using A = decltype(computing);
    const auto run = in_rows(pass) ? forward_chunks<T, A, RowTile<A>> : forward_chunks<T, A, ColumnTile<A>>;
    run(pass, plan, items, partials, scratch, begin, end);
  });
}

}  // namespace mnad::cpu::MNAD_ISA
