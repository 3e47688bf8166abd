#include "ops/register.h"
#include "ops/tensors.h"

namespace mnad::ops {
namespace {

using OptionalTensor = std::optional<Tensor>;

void require_map(const Tensor& tensor, const char* name, const Arguments& arguments, int64_t channels,
                 ScalarType dtype) {
  require(tensor.dim() == 4 && tensor.size(0) == arguments.shape.B && tensor.size(1) == channels &&
              tensor.size(2) == arguments.H && tensor.size(3) == arguments.W && tensor.scalar_type() == dtype,
          [&] {
            return std::string(name) + " " + sizes_of(tensor) + " doesn't fit features " +
                   sizes_of(arguments.features) + " in shape or dtype";
          });
  require_same_device(tensor, name, arguments.features, "features");
}

const void* per_sample(const OptionalTensor& grad, const char* name, const Arguments& arguments, OptionalTensor& keep) {
  if (!grad) return nullptr;
  require(grad->dim() == 1 && grad->size(0) == arguments.shape.B && grad->scalar_type() == arguments.computing(),
          [&] { return std::string(name) + " must be (B,) in the dtype of the items, got " + sizes_of(*grad); });
  require_same_device(*grad, name, arguments.features, "features");
  keep = dense(*grad);
  return keep->const_data_ptr();
}

// memory_backward: the gradient of memory_read and of memory_step
//   grad_output           (B, 2C, H, W) optional, dtype of the features
//   grad_weights          (B, M, H, W)  optional, dtype of the items
//   grad_compactness      (B)           optional, dtype of the items
//   grad_separateness     (B)           optional, dtype of the items
//   features              (B, C, H, W)  as the forward read them
//   items                 ([B,] M, C)   as the forward read them
//   weights               (B, M, H, W)  as the forward returned them
//   indices               (B, 2, H, W)  optional, as memory_step returned them; needed with a gradient of a loss
//   scores                (B, 2, H, W)  optional, as memory_step returned them; needed with a gradient of a loss
//   distances             (B, 2, H, W)  optional, as memory_step returned them; needed with a gradient of a loss
//   grad_through_weights                whether the gradient of the readout reaches the scores
//   wants_features                      whether grad_features is wanted
//   wants_items                         whether grad_items is wanted; the losses give the items no gradient
//   -> grad_features      (B, C, H, W)  dtype and memory format of the features; an empty tensor where not wanted
//   -> grad_items         ([B,] M, C)   dtype of the items; an empty tensor where not wanted
std::tuple<Tensor, Tensor> memory_backward(const OptionalTensor& grad_output, const OptionalTensor& grad_weights,
                                           const OptionalTensor& grad_compactness,
                                           const OptionalTensor& grad_separateness, const Tensor& features,
                                           const Tensor& items, const Tensor& weights, const OptionalTensor& indices,
                                           const OptionalTensor& scores, const OptionalTensor& distances,
                                           bool grad_through_weights, bool wants_features, bool wants_items) {
  const Arguments arguments(features, items);
  const Shape& shape = arguments.shape;
  const ScalarType computing = arguments.computing();
  Backward pass = arguments.backward();
  pass.grad_through_weights = grad_through_weights;

  require_map(weights, "weights", arguments, shape.M, computing);
  const Tensor dense_weights = dense(weights);
  pass.weights = dense_weights.const_data_ptr();

  OptionalTensor output_map, dense_grad_weights, keep_compactness, keep_separateness;
  OptionalTensor dense_indices, dense_scores, dense_distances;
  if (grad_output) {
    require_map(*grad_output, "grad_output", arguments, 2 * shape.C, features.scalar_type());
    output_map = with_one_position_stride(*grad_output);
    pass.grad_output = output_map->const_data_ptr();
    pass.grad_output_strides = strides_of(*output_map);
  }
  if (grad_weights) {
    require_map(*grad_weights, "grad_weights", arguments, shape.M, computing);
    dense_grad_weights = dense(*grad_weights);
    pass.grad_weights = dense_grad_weights->const_data_ptr();
  }
  pass.grad_compactness = per_sample(grad_compactness, "grad_compactness", arguments, keep_compactness);
  pass.grad_separateness = per_sample(grad_separateness, "grad_separateness", arguments, keep_separateness);
  if (pass.grad_compactness || pass.grad_separateness) {
    require(indices && scores && distances,
            [] { return "indices, scores and distances are needed for the gradient of the losses"; });
    require_map(*indices, "indices", arguments, 2, ScalarType::Long);
    require_map(*scores, "scores", arguments, 2, computing);
    require_map(*distances, "distances", arguments, 2, computing);
    dense_indices = dense(*indices), dense_scores = dense(*scores), dense_distances = dense(*distances);
    pass.indices = static_cast<const int64_t*>(dense_indices->const_data_ptr());
    pass.scores = dense_scores->const_data_ptr();
    pass.distances = dense_distances->const_data_ptr();
  }

  Tensor grad_features =
      wants_features ? arguments.empty_like_features(shape.C) : arguments.empty({0}, features.scalar_type());
  Tensor grad_items = wants_items ? arguments.empty_per_item(computing, true) : arguments.empty({0}, computing);
  if (wants_features) {
    pass.grad_features = grad_features.mutable_data_ptr();
    pass.grad_features_strides = strides_of(grad_features);
  }
  if (wants_items) pass.grad_items = grad_items.mutable_data_ptr();
  run(pass, features);
  return {grad_features, grad_items};
}

}  // namespace
}  // namespace mnad::ops

STABLE_TORCH_LIBRARY_FRAGMENT(mnad, library) {
  library.def(
      "memory_backward("
      "Tensor? grad_output, Tensor? grad_weights, Tensor? grad_compactness, Tensor? grad_separateness, "
      "Tensor features, Tensor items, "
      "Tensor weights, Tensor? indices, Tensor? scores, Tensor? distances, "
      "*, bool grad_through_weights, bool wants_features, bool wants_items) -> "
      "(Tensor grad_features, Tensor grad_items)");
}

MNAD_REGISTER("memory_backward", mnad::ops::memory_backward)
