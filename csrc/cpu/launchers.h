// What the operators call on a CPU. Results do not depend on the number of threads.
#pragma once

#include <functional>

#include "core/pass.h"

namespace mnad::cpu {

// Calls work(begin, end) for ranges that together cover [0, n), at once in as many threads as there are.
using ParallelFor = void (*)(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& work);

void forward(const Forward& pass, ParallelFor parallel_for);
void backward(const Backward& pass, ParallelFor parallel_for);
void update_items(const ItemsUpdate& update);

// The name of the instruction set in use.
const char* instruction_set();

}  // namespace mnad::cpu
