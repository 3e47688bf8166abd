// In place of csrc/ops/run.cpp and csrc/module.cpp: runs every pass by the CUDA kernels, emulated, on tensors in host
// memory.
#include <pybind11/pybind11.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "cuda/launchers.h"
#include "cuda_emulator.h"
#include "ops/tensors.h"

namespace mnad::ops {
namespace {

int number_in_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::atoi(text) : otherwise;
}

void read_options() {
  auto& options = cuda_emulator::options();
  options.schedule = cuda_emulator::Schedule(number_in_environment("MNAD_EMULATOR_SCHEDULE", 0));
  options.processors = number_in_environment("MNAD_EMULATOR_PROCESSORS", 4);
  options.shared_per_block = number_in_environment("MNAD_EMULATOR_SHARED_KIB", 227) << 10;
}

template <class Pass>
void run_pass(const Pass& pass, size_t scratch_bytes, cudaError_t (*launch)(const Pass&, void*, cudaStream_t)) {
  const std::unique_ptr<void, decltype(&std::free)> scratch(std::aligned_alloc(256, (scratch_bytes + 511) / 256 * 256),
                                                            &std::free);
  std::memset(scratch.get(), 0xff, scratch_bytes);
  if (const cudaError_t error = launch(pass, scratch.get(), nullptr); error != cudaSuccess)
    throw std::runtime_error("emulated kernel: error " + std::to_string(error));
}

}  // namespace

void run(const Forward& pass, const Tensor&) {
  read_options();
  run_pass(pass, cuda::forward_scratch(pass), cuda::forward);
}

void run(const Backward& pass, const Tensor&) {
  read_options();
  run_pass(pass, cuda::backward_scratch(pass), cuda::backward);
}

void run(const ItemsUpdate& update, const Tensor&) {
  if (cuda::update_items(update, nullptr) != cudaSuccess) throw std::runtime_error("emulated kernel failed");
}

}  // namespace mnad::ops

PYBIND11_MODULE(_C, module) { module.doc() = "The operators of mnad_ext by emulated CUDA kernels."; }
