#include "ops/tensors.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

namespace mnad::ops {
namespace {

DType dtype_of(const Tensor& features) {
  switch (features.scalar_type()) {
    case ScalarType::Float:
      return DType::f32;
    case ScalarType::Double:
      return DType::f64;
    case ScalarType::BFloat16:
      return DType::bf16;
    case ScalarType::Half:
      return DType::f16;
    default:
      throw std::invalid_argument("features must be float32, float64, bfloat16 or float16");
  }
}

Tensor empty_strided(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides, ScalarType dtype,
                     const Tensor& on) {
  int32_t device_type = 0;
  AtenTensorHandle handle = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(on.get(), &device_type));
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(int64_t(sizes.size()), sizes.data(), strides.data(), int32_t(dtype),
                                                  device_type, on.get_device_index(), &handle));
  return Tensor(handle);
}

bool is_channels_last(const Tensor& map) { return map.stride(1) == 1 && !map.is_contiguous(); }

}  // namespace

std::string sizes_of(const Tensor& tensor) {
  std::ostringstream text;
  text << "(";
  for (int64_t d = 0; d < tensor.dim(); ++d) text << (d ? ", " : "") << tensor.size(d);
  text << ")";
  return text.str();
}

void require_same_device(const Tensor& tensor, const char* name, const Tensor& other, const char* other_name) {
  require(tensor.is_cuda() == other.is_cuda() && tensor.get_device_index() == other.get_device_index(),
          [&] { return std::string(name) + " must be on the device of " + other_name; });
}

Tensor dense(const Tensor& tensor) { return tensor.is_contiguous() ? tensor : torch::stable::contiguous(tensor); }

Tensor with_one_position_stride(const Tensor& map) {
  const int64_t H = map.size(2), W = map.size(3);
  const bool one = H <= 1 || W <= 1 || map.stride(2) == W * map.stride(3);
  return one ? map : dense(map);
}

Strides strides_of(const Tensor& map) {
  return {map.stride(0), map.stride(1), map.size(3) == 1 ? map.stride(2) : map.stride(3)};
}

Arguments::Arguments(const Tensor& given_features, const Tensor& given_items) {
  require(given_features.dim() == 4, [&] { return "features must be (B, C, H, W), got " + sizes_of(given_features); });
  const int64_t rank = given_items.dim();
  require(rank == 2 || rank == 3, [&] { return "items must be (M, C) or (B, M, C), got " + sizes_of(given_items); });
  dtype = dtype_of(given_features);
  require(given_items.scalar_type() == computing(),
          [] { return "items must be float32, or float64 where the features are float64"; });
  require_same_device(given_items, "items", given_features, "features");
  H = given_features.size(2), W = given_features.size(3);
  shape = {given_features.size(0), given_features.size(1), H * W, given_items.size(rank - 2), rank == 3};
  require(shape.C >= 1 && shape.M >= 1, [&] {
    return "there must be at least one channel and one item, got features " + sizes_of(given_features) + " and items " +
           sizes_of(given_items);
  });
  require(given_items.size(rank - 1) == shape.C && (rank == 2 || given_items.size(0) == shape.B),
          [&] { return "items " + sizes_of(given_items) + " don't fit features " + sizes_of(given_features); });
  features = with_one_position_stride(given_features);
  items = dense(given_items);
}

Tensor Arguments::empty(std::initializer_list<int64_t> sizes, ScalarType type) const {
  std::vector<int64_t> strides(sizes.size());
  int64_t stride = 1;
  for (size_t d = sizes.size(); d-- > 0;) {
    strides[d] = stride;
    stride *= std::max<int64_t>(sizes.begin()[d], 1);
  }
  return empty_strided(sizes, strides, type, features);
}

Tensor Arguments::empty_like_features(int64_t channels) const {
  const ScalarType type = features.scalar_type();
  if (!is_channels_last(features)) return empty({shape.B, channels, H, W}, type);
  return empty_strided({shape.B, channels, H, W}, {channels * H * W, 1, W * channels, channels}, type, features);
}

Tensor Arguments::empty_per_item(ScalarType type, bool of_channels) const {
  if (shape.items_per_sample)
    return of_channels ? empty({shape.B, shape.M, shape.C}, type) : empty({shape.B, shape.M}, type);
  return of_channels ? empty({shape.M, shape.C}, type) : empty({shape.M}, type);
}

namespace {

template <class Pass>
Pass pass_over(const Arguments& arguments) {
  Pass pass{};
  pass.dtype = arguments.dtype;
  pass.shape = arguments.shape;
  pass.features = arguments.features.const_data_ptr();
  pass.features_strides = strides_of(arguments.features);
  pass.items = arguments.items.const_data_ptr();
  return pass;
}

}  // namespace

Forward Arguments::forward() const { return pass_over<Forward>(*this); }
Backward Arguments::backward() const { return pass_over<Backward>(*this); }

StatisticsTensors::StatisticsTensors(const Arguments& arguments)
    : weighted_sum(arguments.empty_per_item(arguments.computing(), true)),
      total(arguments.empty_per_item(arguments.computing(), false)),
      counts(arguments.empty_per_item(ScalarType::Long, false)),
      peak_all(arguments.empty_per_item(arguments.computing(), false)),
      peak_assigned(arguments.empty_per_item(arguments.computing(), false)) {}

StatisticsTensors::StatisticsTensors(Tensor weighted_sum, Tensor total, Tensor counts, Tensor peak_all,
                                     Tensor peak_assigned)
    : weighted_sum(std::move(weighted_sum)),
      total(std::move(total)),
      counts(std::move(counts)),
      peak_all(std::move(peak_all)),
      peak_assigned(std::move(peak_assigned)) {}

Statistics StatisticsTensors::pointers() const {
  return {weighted_sum.mutable_data_ptr(), total.mutable_data_ptr(), static_cast<int64_t*>(counts.mutable_data_ptr()),
          peak_all.mutable_data_ptr(), peak_assigned.mutable_data_ptr()};
}

}  // namespace mnad::ops
