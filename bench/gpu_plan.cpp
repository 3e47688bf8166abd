// Prints how passes are cut up for a GPU that is not there, a line of JSON each: see bench/gpu_model.py.
//
//   gpu_plan DEVICE [WORK DTYPE LAYOUT B C P M]...
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "cuda/plan.h"

using mnad::Backward, mnad::DType, mnad::Forward, mnad::Strides;

// What plan.h asks of the device: an H100 and an H200 (SXM) answer the same.
extern "C" cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
extern "C" cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  static const std::map<cudaDeviceAttr, int> answers = {{cudaDevAttrMultiProcessorCount, 132},
                                                        {cudaDevAttrComputeCapabilityMajor, 9},
                                                        {cudaDevAttrMaxSharedMemoryPerBlockOptin, 227 << 10},
                                                        {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 228 << 10},
                                                        {cudaDevAttrReservedSharedMemoryPerBlock, 1 << 10}};
  const auto answer = answers.find(attribute);
  if (answer == answers.end()) return cudaErrorInvalidValue;
  *value = answer->second;
  return cudaSuccess;
}

namespace {

struct Case {
  std::string work, dtype, layout;
  mnad::Shape shape;
};

// Any address that is aligned as torch aligns what it allocates: nobody reads there.
template <class T = void>
T* somewhere() {
  return reinterpret_cast<T*>(uintptr_t{1} << 20);
}

DType dtype_of(const std::string& name) {
  static const std::map<std::string, DType> names = {
      {"float32", DType::f32}, {"float64", DType::f64}, {"bfloat16", DType::bf16}, {"float16", DType::f16}};
  return names.at(name);
}

// As csrc/ops gives them, for maps of so many channels.
Strides strides_of(const Case& given, int64_t channels) {
  const int64_t P = given.shape.P;
  return given.layout == "channels-last" ? Strides{P * channels, 1, channels} : Strides{P * channels, P, 1};
}

template <class Pass>
Pass pass_over(const Case& given) {
  Pass pass{};
  pass.dtype = dtype_of(given.dtype), pass.shape = given.shape;
  pass.features = somewhere(), pass.features_strides = strides_of(given, given.shape.C);
  pass.items = somewhere();
  return pass;
}

Forward forward_of(const Case& given) {
  Forward pass = pass_over<Forward>(given);
  pass.output = somewhere(), pass.output_strides = strides_of(given, 2 * given.shape.C);
  pass.weights = somewhere();
  if (given.work == "read") return pass;
  pass.indices = somewhere<int64_t>(), pass.scores = pass.distances = somewhere();
  pass.compactness = pass.separateness = somewhere();
  pass.statistics = {somewhere(), somewhere(), somewhere<int64_t>(), somewhere(), somewhere()};
  return pass;
}

Backward backward_of(const Case& given) {
  Backward pass = pass_over<Backward>(given);
  pass.weights = somewhere(), pass.indices = somewhere<int64_t>(), pass.scores = pass.distances = somewhere();
  pass.grad_output = somewhere(), pass.grad_output_strides = strides_of(given, 2 * given.shape.C);
  pass.grad_compactness = pass.grad_separateness = somewhere();
  pass.grad_features = somewhere(), pass.grad_features_strides = strides_of(given, given.shape.C);
  if (given.work == "backward+items") pass.grad_items = somewhere();
  return pass;
}

mnad::cuda::Plan plan_of(const Case& given) {
  mnad::cuda::Plan plan{};
  const bool back = given.work.starts_with("backward");
  const cudaError_t error =
      back ? mnad::cuda::Planner(backward_of(given)).plan(plan) : mnad::cuda::Planner(forward_of(given)).plan(plan);
  if (error != cudaSuccess) std::exit(int(error));
  return plan;
}

void print(const mnad::cuda::Plan& plan) {
  const auto number = [](const char* name, auto value) { std::printf("\"%s\": %lld, ", name, (long long)value); };
  std::printf("{");
  number("tile", plan.tile);
  number("shared_bytes", plan.shared_bytes), number("scratch_bytes", plan.scratch_bytes);
  number("partial_bytes", plan.losses_at), number("chunks", plan.chunks);
  number("tiles_per_sample", plan.tiles_per_sample);
  std::printf("\"twice\": %s, ", plan.twice ? "true" : "false");
  std::printf("\"items_shared\": %s, ", plan.items.shared ? "true" : "false");
  std::printf("\"fast\": %s}\n", plan.fast ? "true" : "false");
}

}  // namespace

int main(int count, char** arguments) {
  const std::string device = count > 1 ? arguments[1] : "";
  if ((device != "h100" && device != "h200") || count % 7 != 2) return 2;
  const auto number = [&](int i) { return int64_t{std::atoll(arguments[i])}; };
  for (int i = 2; i < count; i += 7)
    print(plan_of({arguments[i],
                   arguments[i + 1],
                   arguments[i + 2],
                   {number(i + 3), number(i + 4), number(i + 5), number(i + 6), false}}));
}
