#include "ops/register.h"
#include "ops/tensors.h"

namespace mnad::ops {
namespace {

// memory_read
//   features              (B, C, H, W)  float32, float64, bfloat16, float16; contiguous or channels-last, read in place
//   items                 ([B,] M, C)   float64 with float64 features, else float32
//   grad_through_weights                read by the gradient alone
//   -> output             (B, 2C, H, W) dtype and memory format of the features: unit queries, then readouts
//   -> weights            (B, M, H, W)  dtype of the items: softmax over M of the cosine scores
std::tuple<Tensor, Tensor> memory_read(const Tensor& features, const Tensor& items, bool /*grad_through_weights*/) {
  const Arguments arguments(features, items);
  const auto [B, C, P, M, per_sample] = arguments.shape;
  Tensor output = arguments.empty_like_features(2 * C);
  Tensor weights = arguments.empty({B, M, arguments.H, arguments.W}, arguments.computing());
  Forward pass = arguments.forward();
  pass.output = output.mutable_data_ptr();
  pass.output_strides = strides_of(output);
  pass.weights = weights.mutable_data_ptr();
  run(pass, features);
  return {output, weights};
}

}  // namespace
}  // namespace mnad::ops

STABLE_TORCH_LIBRARY_FRAGMENT(mnad, library) {
  library.def(
      "memory_read(Tensor features, Tensor items, *, bool grad_through_weights=False) -> "
      "(Tensor output, Tensor weights)");
}

MNAD_REGISTER("memory_read", mnad::ops::memory_read)
