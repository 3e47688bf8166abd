// Runs passes on the device that holds their tensors.
#include <stdexcept>

#include "cpu/launchers.h"
#include "ops/tensors.h"
#ifdef MNAD_WITH_CUDA
#include <torch/csrc/stable/accelerator.h>

#include "cuda/launchers.h"

// Exported by every torch with CUDA from 2.9 on; weak, so that one library also loads where torch has none.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device, void** stream);
#endif

namespace mnad::ops {
namespace {

void in_torch_threads(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& work) {
  torch::stable::parallel_for(0, n, grain, work);
}

#ifdef MNAD_WITH_CUDA
void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("mnad CUDA kernel: ") + cudaGetErrorString(error));
}

cudaStream_t current_stream(const Tensor& on) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(on.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

Tensor scratch(size_t bytes, const Tensor& on) {
  return torch::stable::empty({int64_t(bytes)}, ScalarType::Byte, std::nullopt, on.device());
}
#endif

}  // namespace

void run(const Forward& pass, const Tensor& on) {
#ifdef MNAD_WITH_CUDA
  if (on.is_cuda()) {
    const torch::stable::accelerator::DeviceGuard guard(on.get_device_index());
    const Tensor memory = scratch(cuda::forward_scratch(pass), on);
    return check(cuda::forward(pass, memory.mutable_data_ptr(), current_stream(on)));
  }
#endif
  (void)on;
  cpu::forward(pass, in_torch_threads);
}

void run(const Backward& pass, const Tensor& on) {
#ifdef MNAD_WITH_CUDA
  if (on.is_cuda()) {
    const torch::stable::accelerator::DeviceGuard guard(on.get_device_index());
    const Tensor memory = scratch(cuda::backward_scratch(pass), on);
    return check(cuda::backward(pass, memory.mutable_data_ptr(), current_stream(on)));
  }
#endif
  (void)on;
  cpu::backward(pass, in_torch_threads);
}

void run(const ItemsUpdate& update, const Tensor& on) {
#ifdef MNAD_WITH_CUDA
  if (on.is_cuda()) {
    const torch::stable::accelerator::DeviceGuard guard(on.get_device_index());
    return check(cuda::update_items(update, current_stream(on)));
  }
#endif
  (void)on;
  cpu::update_items(update);
}

}  // namespace mnad::ops
