// What the operators call on a GPU. Results are deterministic; nothing is allocated, nothing synchronises.
#pragma once

#include <cuda_runtime_api.h>

#include "core/pass.h"

namespace mnad::cuda {

// Scratch memory in bytes, 256-byte aligned, that a pass needs on the device; may be 0.
size_t forward_scratch(const Forward& pass);
size_t backward_scratch(const Backward& pass);

cudaError_t forward(const Forward& pass, void* scratch, cudaStream_t stream);
cudaError_t backward(const Backward& pass, void* scratch, cudaStream_t stream);
cudaError_t update_items(const ItemsUpdate& update, cudaStream_t stream);

}  // namespace mnad::cuda
