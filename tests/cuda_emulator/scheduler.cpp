// Runs the blocks of a launch one after the other and the threads of a block in the order that is set. Never compiled
// with -fsanitize.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

#include "cuda_emulator.h"
#include "fiber.h"
#undef threadIdx
#undef blockIdx

namespace cuda_emulator {
namespace {

constexpr int kWarp = 32;

struct Thread {
  ThreadState state;
  Fiber fiber;
  const void* barrier = nullptr;  // where it waits
};

struct Launch {
  void (*body)(void*);
  void* context;
};

Options chosen;
std::deque<Thread> threads;  // of the block that runs; kept for the next one
Thread* running = nullptr;
Launch launched;
std::mt19937 random_source;
char at_start, at_barrier, at_end;  // tags of what ThreadSanitizer is told

void run_thread() {
  Fiber::acquire(&at_start);
  launched.body(launched.context);
  Fiber::release(&at_end);
}

std::vector<int> ordered(int count) {
  std::vector<int> order(count);
  for (int i = 0; i < count; ++i) order[i] = i;
  switch (chosen.schedule) {
    case Schedule::forward:
      break;
    case Schedule::reverse:
      std::reverse(order.begin(), order.end());
      break;
    case Schedule::by_lane:
      std::stable_sort(order.begin(), order.end(), [](int a, int b) { return a % kWarp < b % kWarp; });
      break;
    case Schedule::random:
      std::shuffle(order.begin(), order.end(), random_source);
      break;
  }
  return order;
}

void describe_and_stop(const char* what, const Thread& thread) {
  const auto& [t, b, shared] = thread.state;
  stop("%s [block (%u, %u, %u), thread (%u, %u, %u)]", what, b.x, b.y, b.z, t.x, t.y, t.z);
}

// All live threads wait, or all have ended; anything else is a barrier that not all threads reach.
void check_barrier(int count) {
  const Thread* waiting = nullptr;
  const Thread* ended = nullptr;
  for (int i = 0; i < count; ++i) {
    const Thread& thread = threads[i];
    if (thread.fiber.ended()) {
      ended = &thread;
      continue;
    }
    if (waiting && waiting->barrier != thread.barrier)
      describe_and_stop("threads wait at two different __syncthreads()", thread);
    waiting = &thread;
  }
  if (waiting && ended) describe_and_stop("__syncthreads() that threads which have ended never reach", *waiting);
}

void run_block(uint3 block, dim3 size, char* shared) {
  const int count = int(size.x);
  while (int(threads.size()) < count) threads.emplace_back();
  Fiber::release(&at_start);
  for (int i = 0; i < count; ++i) {
    threads[i].state = {{unsigned(i), 0, 0}, block, shared};
    threads[i].fiber.start(run_thread);
  }
  bool live = true;
  while (live) {
    for (int i : ordered(count)) {
      running = &threads[i];
      if (!running->fiber.ended()) running->fiber.resume();
    }
    check_barrier(count);
    live = !threads[0].fiber.ended();
  }
  Fiber::acquire(&at_end);
}

}  // namespace

Options& options() { return chosen; }

const ThreadState& current() { return running->state; }

void wait_for_block(const void* barrier) {
  Thread& self = *running;
  self.barrier = barrier;
  Fiber::release(&at_barrier);
  self.fiber.leave();
  Fiber::acquire(&at_barrier);
}

void run(dim3 grid, dim3 block, size_t shared, void (*body)(void*), void* context) {
  if (block.x == 0 || block.x > 1024 || block.y != 1 || block.z != 1 || grid.x == 0 || grid.y != 1 || grid.z != 1)
    stop("blocks of %u x %u x %u threads in a grid of %u x %u x %u are not emulated", block.x, block.y, block.z, grid.x,
         grid.y, grid.z);
  if (shared > size_t(chosen.shared_per_block)) stop("%zu bytes of shared memory are more than a block has", shared);
  launched = {body, context};
  random_source.seed(0);  // every launch in the same order
  for (unsigned x = 0; x < grid.x; ++x) {
    char* memory = static_cast<char*>(std::malloc(shared));  // of the very size
    std::memset(memory, 0xff, shared);
    run_block({x, 0, 0}, block, memory);
    std::free(memory);
  }
  running = nullptr;
}

}  // namespace cuda_emulator

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const auto& options = cuda_emulator::options();
  if (attribute == cudaDevAttrMultiProcessorCount)
    *value = options.processors;
  else if (attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin)
    *value = options.shared_per_block;
  else
    return cudaErrorInvalidValue;
  return cudaSuccess;
}
