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

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error("emulated kernel: error " + std::to_string(error));
}

template <class Pass>
void run_emulated(const Pass& pass) {
  read_options();
  cuda::Plan plan;
  check(cuda::Planner(pass).plan(plan));
  const size_t bytes = plan.scratch_bytes;
  const std::unique_ptr<void, decltype(&std::free)> scratch(std::aligned_alloc(256, (bytes + 511) / 256 * 256),
                                                            &std::free);
  std::memset(scratch.get(), 0xff, bytes);
  check(cuda::run(pass, plan, scratch.get(), nullptr));
}

}  // namespace

void run(const Forward& pass, const Tensor&) { run_emulated(pass); }

void run(const Backward& pass, const Tensor&) { run_emulated(pass); }

void run(const ItemsUpdate& update, const Tensor&) { check(cuda::update_items(update, nullptr)); }

}  // namespace mnad::ops

PYBIND11_MODULE(_C, module) { module.doc() = "The operators of mnad_ext by emulated CUDA kernels."; }
