// What the operators call on a GPU. Results are deterministic; nothing is allocated, nothing synchronises. An error is
// returned, and not left for a later call to find.
#pragma once

#include <cuda_runtime_api.h>

#include "core/pass.h"

namespace mnad::cuda {

// Tells the bytes of scratch memory, 256-byte aligned, that a pass needs on the device; may be 0.
cudaError_t forward_scratch(const Forward& pass, size_t& bytes);
cudaError_t backward_scratch(const Backward& pass, size_t& bytes);

cudaError_t forward(const Forward& pass, void* scratch, cudaStream_t stream);
cudaError_t backward(const Backward& pass, void* scratch, cudaStream_t stream);
cudaError_t update_items(const ItemsUpdate& update, cudaStream_t stream);

}  // namespace mnad::cuda
