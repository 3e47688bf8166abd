#include "ops/register.h"
#include "ops/tensors.h"

namespace mnad::ops {
namespace {

UpdateRule rule_named(const std::string& name) {
  if (name == "max-all") return UpdateRule::max_all;
  if (name == "max-assigned") return UpdateRule::max_assigned;
  if (name == "plain") return UpdateRule::plain;
  throw std::invalid_argument("rule must be 'max-all', 'max-assigned' or 'plain', got '" + name + "'");
}

void require_like_items(const Tensor& tensor, const char* name, const Tensor& items, bool of_channels,
                        ScalarType dtype) {
  const int64_t rank = items.dim() - (of_channels ? 0 : 1);
  bool fits = tensor.dim() == rank && tensor.scalar_type() == dtype;
  for (int64_t d = 0; fits && d < rank; ++d) fits = tensor.size(d) == items.size(d);
  require(fits, [&] {
    return std::string(name) + " " + sizes_of(tensor) + " doesn't fit items " + sizes_of(items) + " in shape or dtype";
  });
  require_same_device(tensor, name, items, "items");
}

using StatisticsTuple = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

StatisticsTensors statistics_of(const Tensor& features, const Tensor& items) {
  const Arguments arguments(features, items);
  StatisticsTensors statistics(arguments);
  Forward pass = arguments.forward();
  pass.statistics = statistics.pointers();
  run(pass, features);
  return statistics;
}

// update_statistics
//   features          (B, C, H, W) as for memory_read
//   items             ([B,] M, C)  as for memory_read
//   -> weighted_sum   ([B,] M, C)  dtype of the items: sum of exp(score) q over the queries whose nearest item it is
//   -> total          ([B,] M)     dtype of the items: sum of exp(score) over all queries
//   -> counts         ([B,] M)     int64: queries whose nearest item it is
//   -> peak_all       ([B,] M)     dtype of the items: highest score of all queries
//   -> peak_assigned  ([B,] M)     dtype of the items: highest score of the queries whose nearest item it is
// Over the queries of all samples where the items are shared. Non-finite queries are left out.
StatisticsTuple update_statistics(const Tensor& features, const Tensor& items) {
  const StatisticsTensors s = statistics_of(features, items);
  return {s.weighted_sum, s.total, s.counts, s.peak_all, s.peak_assigned};
}

// update_items
//   items          ([B,] M, C) float32 or float64
//   weighted_sum   ([B,] M, C) as update_statistics returns it
//   total          ([B,] M)    as update_statistics returns it
//   counts         ([B,] M)    as update_statistics returns them
//   peak_all       ([B,] M)    as update_statistics returns it
//   peak_assigned  ([B,] M)    as update_statistics returns it
//   rule                       'max-all', 'max-assigned' or 'plain'
//   -> new items   ([B,] M, C) dtype of the items: rows of unit length; an item without queries stays as it is
Tensor update_items(const Tensor& items, const Tensor& weighted_sum, const Tensor& total, const Tensor& counts,
                    const Tensor& peak_all, const Tensor& peak_assigned, const std::string& rule) {
  const ScalarType dtype = items.scalar_type();
  require((items.dim() == 2 || items.dim() == 3) && (dtype == ScalarType::Float || dtype == ScalarType::Double),
          [&] { return "items must be (M, C) or (B, M, C) in float32 or float64, got " + sizes_of(items); });
  require_like_items(weighted_sum, "weighted_sum", items, true, dtype);
  require_like_items(total, "total", items, false, dtype);
  require_like_items(counts, "counts", items, false, ScalarType::Long);
  require_like_items(peak_all, "peak_all", items, false, dtype);
  require_like_items(peak_assigned, "peak_assigned", items, false, dtype);
  return close_update(items, {dense(weighted_sum), dense(total), dense(counts), dense(peak_all), dense(peak_assigned)},
                      rule);
}

// memory_update = update_items(items, update_statistics(features, items), rule)
Tensor memory_update(const Tensor& features, const Tensor& items, const std::string& rule) {
  rule_named(rule);
  return close_update(items, statistics_of(features, items), rule);
}

}  // namespace

Tensor close_update(const Tensor& given_items, const StatisticsTensors& statistics, const std::string& rule) {
  const Tensor items = dense(given_items);
  Tensor new_items = torch::stable::empty_like(items);
  ItemsUpdate update{};
  update.is_double = items.scalar_type() == ScalarType::Double;
  update.C = items.size(items.dim() - 1);
  update.rows = update.C > 0 ? items.numel() / update.C : 0;
  update.items = items.const_data_ptr();
  update.statistics = statistics.pointers();
  update.rule = rule_named(rule);
  update.new_items = new_items.mutable_data_ptr();
  run(update, items);
  return new_items;
}

}  // namespace mnad::ops

STABLE_TORCH_LIBRARY_FRAGMENT(mnad, library) {
  library.def(
      "update_statistics(Tensor features, Tensor items) -> "
      "(Tensor weighted_sum, Tensor total, Tensor counts, Tensor peak_all, Tensor peak_assigned)");
  library.def(
      "update_items(Tensor items, "
      "Tensor weighted_sum, Tensor total, Tensor counts, Tensor peak_all, Tensor peak_assigned, "
      "str rule='max-all') -> Tensor");
  library.def("memory_update(Tensor features, Tensor items, str rule='max-all') -> Tensor");
}

MNAD_REGISTER("update_statistics", mnad::ops::update_statistics)
MNAD_REGISTER("update_items", mnad::ops::update_items)
MNAD_REGISTER("memory_update", mnad::ops::memory_update)
