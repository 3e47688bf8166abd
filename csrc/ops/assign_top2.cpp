#include "ops/register.h"
#include "ops/tensors.h"

namespace mnad::ops {
namespace {

// assign_top2
//   features    (B, C, H, W) as for memory_read
//   items       ([B,] M, C)  as for memory_read, M >= 2
//   -> indices  (B, 2, H, W) int64: nearest and second nearest item; ties go to the lower index
//   -> scores   (B, 2, H, W) dtype of the items: their cosines; NaN where a query is not finite
std::tuple<Tensor, Tensor> assign_top2(const Tensor& features, const Tensor& items) {
  const Arguments arguments(features, items);
  require(arguments.shape.M >= 2, [&] { return "assign_top2 needs at least 2 items, got items " + sizes_of(items); });
  const int64_t B = arguments.shape.B, H = arguments.H, W = arguments.W;
  Tensor indices = arguments.empty({B, 2, H, W}, ScalarType::Long);
  Tensor scores = arguments.empty({B, 2, H, W}, arguments.computing());
  Forward pass = arguments.forward();
  pass.indices = static_cast<int64_t*>(indices.mutable_data_ptr());
  pass.scores = scores.mutable_data_ptr();
  run(pass, features);
  return {indices, scores};
}

}  // namespace
}  // namespace mnad::ops

STABLE_TORCH_LIBRARY_FRAGMENT(mnad, library) {
  library.def("assign_top2(Tensor features, Tensor items) -> (Tensor indices, Tensor scores)");
}

MNAD_REGISTER("assign_top2", mnad::ops::assign_top2)
