// The stream that torch works on.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <stdexcept>
#include <string>

// Exported by every torch with CUDA from 2.9 on; weak, so that one library also loads where torch has none.
extern "C" __attribute__((weak)) AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device, void** stream);

namespace mnad::ops {

inline void* current_stream(int32_t device) {
  if (!aoti_torch_get_current_cuda_stream)
    throw std::runtime_error(
        "mnad_ext cannot ask this torch for its current CUDA stream: the torch that is loaded was built without CUDA. "
        "Install a torch with CUDA and build mnad-ext against it");
  void* stream = nullptr;
  if (aoti_torch_get_current_cuda_stream(device, &stream) != AOTI_TORCH_SUCCESS)
    throw std::runtime_error("torch has no current CUDA stream for device " + std::to_string(device));
  return stream;
}

}  // namespace mnad::ops
