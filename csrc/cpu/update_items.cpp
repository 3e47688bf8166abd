// The closing step of an update: M x C numbers in and out.
#include <algorithm>
#include <cmath>

#include "cpu/launchers.h"

namespace mnad::cpu {
namespace {

template <class A>
A update_scale(const Statistics& statistics, UpdateRule rule, int64_t row) {
  switch (rule) {
    case UpdateRule::max_all:
      return std::exp(-static_cast<const A*>(statistics.peak_all)[row]);
    case UpdateRule::max_assigned:
      return std::exp(-static_cast<const A*>(statistics.peak_assigned)[row]);
    case UpdateRule::plain:
      return 1 / static_cast<const A*>(statistics.total)[row];
  }
  return 0;
}

// The sum of squares, in accumulators that do not wait for one another.
template <class A>
double square_of(const A* values, int64_t count) {
  constexpr int kAccumulators = 8;
  double sums[kAccumulators] = {};
  for (int64_t i = 0; i < count; ++i) sums[i % kAccumulators] += double(values[i]) * double(values[i]);
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

template <class A>
void update_rows(const ItemsUpdate& update) {
  const int64_t C = update.C;
  for (int64_t row = 0; row < update.rows; ++row) {
    const A* item = static_cast<const A*>(update.items) + row * C;
    const A* sum = static_cast<const A*>(update.statistics.weighted_sum) + row * C;
    A* to = static_cast<A*>(update.new_items) + row * C;
    if (update.statistics.counts[row] == 0) {
      std::copy(item, item + C, to);
      continue;
    }
    const A scale = update_scale<A>(update.statistics, update.rule, row);
    for (int64_t c = 0; c < C; ++c) to[c] = item[c] + scale * sum[c];
    const A inverse = A(1 / std::max(std::sqrt(square_of(to, C)), kNormEps));
    for (int64_t c = 0; c < C; ++c) to[c] *= inverse;
  }
}

}  // namespace

void update_items(const ItemsUpdate& update) {
  update.is_double ? update_rows<double>(update) : update_rows<float>(update);
}

}  // namespace mnad::cpu
