// What the operators call on a GPU. Results are deterministic; nothing is allocated, nothing synchronises. An error is
// returned, and not left for a later call to find.
#pragma once

#include "cuda/plan.h"

namespace mnad::cuda {

// The plan is what Planner made of the pass on this device; scratch has plan.scratch_bytes, 256-byte aligned.
cudaError_t run(const Forward& pass, const Plan& plan, void* scratch, cudaStream_t stream);
cudaError_t run(const Backward& pass, const Plan& plan, void* scratch, cudaStream_t stream);
cudaError_t update_items(const ItemsUpdate& update, cudaStream_t stream);

}  // namespace mnad::cuda
