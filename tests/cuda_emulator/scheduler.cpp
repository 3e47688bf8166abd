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

constexpr int kWarp = 32, kReserved = 1 << 10;  // lanes; bytes of shared memory for each block
constexpr size_t kMostExchanged = 512;

// What a thread waits for.
enum class Wait { nothing, block, lanes };

// Copies without memcpy, which ThreadSanitizer would take for an access by the kernel: an exchange orders nothing.
void copy(void* to, const void* from, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) static_cast<volatile char*>(to)[i] = static_cast<const volatile char*>(from)[i];
}

// An exchange of values between lanes, as one of them asks for it.
struct Exchange {
  const void* site;
  unsigned group;
  int distance;
  size_t bytes;
  char sent[kMostExchanged], received[kMostExchanged];

  bool fits(const Exchange& other) const {
    return site == other.site && group == other.group && distance == other.distance && bytes == other.bytes;
  }
};

struct Thread {
  ThreadState state;
  Fiber fiber;
  Wait wait = Wait::nothing;
  const void* barrier = nullptr;  // the last one that it came to
  Exchange exchange;
  std::vector<Copy> copies;
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

// All live threads wait, or all have ended; anything else is a barrier that not all threads reach. Returns whether any
// are live.
bool open_barrier(int count) {
  const Thread* waiting = nullptr;
  const Thread* ended = nullptr;
  for (int i = 0; i < count; ++i) {
    const Thread& thread = threads[i];
    if (thread.fiber.ended()) {
      ended = &thread;
      continue;
    }
    if (thread.wait == Wait::lanes) describe_and_stop("a lane waits for lanes that do not come", thread);
    if (waiting && waiting->barrier != thread.barrier)
      describe_and_stop("threads wait at two different __syncthreads()", thread);
    waiting = &thread;
  }
  if (waiting && ended) describe_and_stop("__syncthreads() that threads which have ended never reach", *waiting);
  for (int i = 0; i < count; ++i) threads[i].wait = Wait::nothing;
  return waiting != nullptr;
}

// Gives every lane of a group what it is to receive, once all of them have come. Returns whether they have.
bool exchange_in_group(int first, int lane, int count) {
  const Exchange& asked = threads[first + lane].exchange;
  if (!(asked.group >> lane & 1))
    describe_and_stop("a lane exchanges in a group that it is not in", threads[first + lane]);
  for (int i = 0; i < kWarp; ++i) {
    if (!(asked.group >> i & 1)) continue;
    if (first + i >= count) describe_and_stop("a group of lanes reaches beyond the block", threads[first + lane]);
    const Thread& other = threads[first + i];
    if (other.fiber.ended() || other.wait != Wait::lanes || !other.exchange.fits(asked)) return false;
  }
  for (int i = 0; i < kWarp; ++i) {
    if (!(asked.group >> i & 1)) continue;
    copy(threads[first + i].exchange.received, threads[first + (i ^ asked.distance)].exchange.sent, asked.bytes);
  }
  for (int i = 0; i < kWarp; ++i)
    if (asked.group >> i & 1) threads[first + i].wait = Wait::nothing;
  return true;
}

// Returns whether some lanes can go on.
bool exchange_lanes(int count) {
  bool some = false;
  for (int i = 0; i < count; ++i)
    if (!threads[i].fiber.ended() && threads[i].wait == Wait::lanes)
      some |= exchange_in_group(i / kWarp * kWarp, i % kWarp, count);
  return some;
}

void run_block(uint3 block, dim3 size, char* shared) {
  const int count = int(size.x);
  while (int(threads.size()) < count) threads.emplace_back();
  Fiber::release(&at_start);
  for (int i = 0; i < count; ++i) {
    threads[i].state = {{unsigned(i), 0, 0}, block, shared};
    threads[i].wait = Wait::nothing;
    threads[i].copies.clear();
    threads[i].fiber.start(run_thread);
  }
  do {
    for (int i : ordered(count)) {
      running = &threads[i];
      if (!running->fiber.ended() && running->wait == Wait::nothing) running->fiber.resume();
    }
  } while (exchange_lanes(count) || open_barrier(count));
  for (int i = 0; i < count; ++i)
    if (!threads[i].copies.empty()) describe_and_stop("a thread ends without waiting for its copies", threads[i]);
  Fiber::acquire(&at_end);
}

}  // namespace

Options& options() { return chosen; }

const ThreadState& current() { return running->state; }

std::vector<Copy>& pending_copies() { return running->copies; }

void wait_for_block(const void* barrier) {
  Thread& self = *running;
  self.barrier = barrier, self.wait = Wait::block;
  Fiber::release(&at_barrier);
  self.fiber.leave();
  Fiber::acquire(&at_barrier);
}

void exchange(void* values, size_t bytes, int distance, unsigned group, const void* site) {
  Thread& self = *running;
  if (bytes > kMostExchanged) stop("%zu bytes are more than lanes exchange here", bytes);
  self.exchange.site = site, self.exchange.group = group, self.exchange.distance = distance;
  self.exchange.bytes = bytes;
  copy(self.exchange.sent, values, bytes);
  self.wait = Wait::lanes;
  self.fiber.leave();
  copy(values, self.exchange.received, bytes);
}

void stop_lanes(const char* what) {
  describe_and_stop(what, *running);
  std::abort();
}

void check_alignment(const void* at, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(at) % bytes != 0)
    describe_and_stop("a word is read or written where it is not aligned", *running);
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
  else if (attribute == cudaDevAttrReservedSharedMemoryPerBlock)
    *value = cuda_emulator::kReserved;
  else if (attribute == cudaDevAttrMaxSharedMemoryPerMultiprocessor)
    *value = options.shared_per_block + cuda_emulator::kReserved;
  else if (attribute == cudaDevAttrComputeCapabilityMajor)
    *value = 9;
  else
    return cudaErrorInvalidValue;
  return cudaSuccess;
}
