// Runs passes on the device that holds their tensors.
#include <stdexcept>

#include "cpu/launchers.h"
#include "ops/tensors.h"
#ifdef MNAD_WITH_CUDA
#include <torch/csrc/stable/accelerator.h>

#include "cuda/launchers.h"
#include "ops/stream.h"
#endif

namespace mnad::ops {
namespace {

void in_torch_threads(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& work) {
  torch::stable::parallel_for(0, n, grain, work);
}

#ifdef MNAD_WITH_CUDA
void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // or the next call that asks for an error would be told of this one
  throw std::runtime_error(std::string("mnad CUDA kernel: ") + cudaGetErrorString(error));
}

cudaStream_t stream_of(const Tensor& on) { return static_cast<cudaStream_t>(current_stream(on.get_device_index())); }

template <class Pass>
void run_on_gpu(const Pass& pass, const Tensor& on) {
  const torch::stable::accelerator::DeviceGuard guard(on.get_device_index());
  cuda::Plan plan;
  check(cuda::Planner(pass).plan(plan));
  const Tensor scratch = torch::stable::empty({plan.scratch_bytes}, ScalarType::Byte, std::nullopt, on.device());
  check(cuda::run(pass, plan, scratch.mutable_data_ptr(), stream_of(on)));
}
#endif

}  // namespace

void run(const Forward& pass, const Tensor& on) {
#ifdef MNAD_WITH_CUDA
  if (on.is_cuda()) return run_on_gpu(pass, on);
#endif
  (void)on;
  cpu::forward(pass, in_torch_threads);
}

void run(const Backward& pass, const Tensor& on) {
#ifdef MNAD_WITH_CUDA
  if (on.is_cuda()) return run_on_gpu(pass, on);
#endif
  (void)on;
  cpu::backward(pass, in_torch_threads);
}

void run(const ItemsUpdate& update, const Tensor& on) {
#ifdef MNAD_WITH_CUDA
  if (on.is_cuda()) {
    const torch::stable::accelerator::DeviceGuard guard(on.get_device_index());
    return check(cuda::update_items(update, stream_of(on)));
  }
#endif
  (void)on;
  cpu::update_items(update);
}

}  // namespace mnad::ops
