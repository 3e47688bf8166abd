// From tensors to passes: checks that protect memory, allocation of results, views of any layout.
//
// The Python side has checked its arguments in the user's words already; what is checked here again keeps
// direct calls of torch.ops.mnad from reading or writing outside a tensor, but for the values of `indices`, which are
// trusted to be those that memory_forward gave. A std::invalid_argument arrives as a ValueError, under torch 2.15 and later
// as a RuntimeError with the same words.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>

#include "core/pass.h"

namespace mnad::ops {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// features (B, C, H, W) and items ([B,] M, C) that fit each other.
struct Arguments {
  Tensor features;  // rows of one position's channels are reachable by a single stride over positions
  Tensor items;     // contiguous
  Shape shape;
  int64_t H, W;
  DType dtype;

  Arguments(const Tensor& features, const Tensor& items);

  ScalarType computing() const { return dtype == DType::f64 ? ScalarType::Double : ScalarType::Float; }
  // A new contiguous tensor on the device of the features.
  Tensor empty(std::initializer_list<int64_t> sizes, ScalarType dtype) const;
  // A new (B, channels, H, W) tensor in the dtype and memory format of the features.
  Tensor empty_like_features(int64_t channels) const;
  // A new ([B,] M) or ([B,] M, C) tensor in the computing type.
  Tensor empty_per_item(ScalarType dtype, bool of_channels) const;

  Forward forward() const;
  Backward backward() const;
};

// Refuses arguments; message() is called for those alone, as to write one takes longer than a small pass's checks.
template <class Message>
void require(bool holds, Message&& message) {
  if (!holds) throw std::invalid_argument(message());
}
std::string sizes_of(const Tensor& tensor);
// Refuses a tensor that is not on the same device as `other`.
void require_same_device(const Tensor& tensor, const char* name, const Tensor& other, const char* other_name);

// A (B, C, H, W) tensor as (B, C, P) with one stride over positions; copies only where height and width can't
// be one.
Tensor with_one_position_stride(const Tensor& map);
Strides strides_of(const Tensor& map);
Tensor dense(const Tensor& tensor);

// Runs a pass on the device of `on`.
void run(const Forward& pass, const Tensor& on);
void run(const Backward& pass, const Tensor& on);
void run(const ItemsUpdate& update, const Tensor& on);

// Statistics of a pass, as tensors.
struct StatisticsTensors {
  Tensor weighted_sum, total, counts, peak_all, peak_assigned;

  explicit StatisticsTensors(const Arguments& arguments);
  StatisticsTensors(Tensor weighted_sum, Tensor total, Tensor counts, Tensor peak_all, Tensor peak_assigned);
  Statistics pointers() const;
};

// The closing step of an update, see update_items in memory_update.cpp.
Tensor close_update(const Tensor& items, const StatisticsTensors& statistics, const std::string& rule);

}  // namespace mnad::ops
