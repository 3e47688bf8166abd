#include "ops/register.h"
#include "ops/tensors.h"

namespace mnad::ops {
namespace {

// memory_step: what a training step needs of the memory, from one pass over the features
//   features              (B, C, H, W)  as for memory_read
//   items                 ([B,] M, C)   as for memory_read, M >= 2
//   grad_through_weights                read by the gradient alone
//   -> output             (B, 2C, H, W) as memory_read returns it
//   -> weights            (B, M, H, W)  as memory_read returns them
//   -> indices            (B, 2, H, W)  as assign_top2 returns them
//   -> scores             (B, 2, H, W)  as assign_top2 returns them
//   -> distances          (B, 2, H, W)  dtype of the items: d(q, p) = |q - p + 1e-6| of these items, for the gradient
//   -> compactness        (B)           dtype of the items: mean over C*H*W of (q - p_first)^2
//   -> separateness       (B)           dtype of the items: mean over H*W of max(0, d(q, p_first) - d(q, p_second) + 1)
//   -> weighted_sum       ([B,] M, C)   as update_statistics returns it
//   -> total              ([B,] M)      as update_statistics returns it
//   -> counts             ([B,] M)      as update_statistics returns them
//   -> peak_all           ([B,] M)      as update_statistics returns it
//   -> peak_assigned      ([B,] M)      as update_statistics returns it
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> memory_step(
    const Tensor& features, const Tensor& items, bool /*grad_through_weights*/) {
  const Arguments arguments(features, items);
  require(arguments.shape.M >= 2, [&] { return "memory_step needs at least 2 items, got items " + sizes_of(items); });
  const auto [B, C, P, M, per_sample] = arguments.shape;
  const int64_t H = arguments.H, W = arguments.W;
  const ScalarType computing = arguments.computing();
  Tensor output = arguments.empty_like_features(2 * C);
  Tensor weights = arguments.empty({B, M, H, W}, computing);
  Tensor indices = arguments.empty({B, 2, H, W}, ScalarType::Long);
  Tensor scores = arguments.empty({B, 2, H, W}, computing);
  Tensor distances = arguments.empty({B, 2, H, W}, computing);
  Tensor compactness = arguments.empty({B}, computing);
  Tensor separateness = arguments.empty({B}, computing);
  const StatisticsTensors statistics(arguments);

  Forward pass = arguments.forward();
  pass.output = output.mutable_data_ptr();
  pass.output_strides = strides_of(output);
  pass.weights = weights.mutable_data_ptr();
  pass.indices = static_cast<int64_t*>(indices.mutable_data_ptr());
  pass.scores = scores.mutable_data_ptr();
  pass.distances = distances.mutable_data_ptr();
  pass.compactness = compactness.mutable_data_ptr();
  pass.separateness = separateness.mutable_data_ptr();
  pass.statistics = statistics.pointers();
  run(pass, features);
  return {output,
          weights,
          indices,
          scores,
          distances,
          compactness,
          separateness,
          statistics.weighted_sum,
          statistics.total,
          statistics.counts,
          statistics.peak_all,
          statistics.peak_assigned};
}

}  // namespace
}  // namespace mnad::ops

STABLE_TORCH_LIBRARY_FRAGMENT(mnad, library) {
  library.def(
      "memory_step(Tensor features, Tensor items, *, bool grad_through_weights=False) -> "
      "(Tensor output, Tensor weights, "
      "Tensor indices, Tensor scores, Tensor distances, "
      "Tensor compactness, Tensor separateness, "
      "Tensor weighted_sum, Tensor total, Tensor counts, Tensor peak_all, Tensor peak_assigned)");
}

MNAD_REGISTER("memory_step", mnad::ops::memory_step)
