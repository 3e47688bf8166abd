// Prints the roofs of this machine: floating-point operations a second in multiply-adds, and bytes a second of writes
// and of copies, by as many threads as there are processors.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/simd.h"

using namespace mnad::cpu::MNAD_ISA;

namespace {

constexpr int kRepeats = 9;

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The median over repeats of what all threads together get done, each telling its own rate.
template <class F>
double rate(F&& of_thread) {
  std::vector<double> rates;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    std::vector<double> each(std::max(1u, std::thread::hardware_concurrency()));
    std::vector<std::thread> threads;
    for (double& one : each) threads.emplace_back([&one, &of_thread] { one = of_thread(); });
    for (std::thread& thread : threads) thread.join();
    rates.push_back(std::accumulate(each.begin(), each.end(), 0.0));
  }
  std::nth_element(rates.begin(), rates.begin() + kRepeats / 2, rates.end());
  return rates[kRepeats / 2];
}

double multiply_add() {
  constexpr int kChains = 12;
  constexpr int64_t kRounds = 4'000'000;
  const Vector<float> factor = broadcast(0.999f), term = broadcast(0.001f);
  Vector<float> sums[kChains] = {};
  const double begin = seconds();
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 12
    for (int chain = 0; chain < kChains; ++chain) sums[chain] = sums[chain] * factor + term;
  }
  const double took = seconds() - begin;
  asm volatile("" ::"m"(sums));
  return 2.0 * kChains * kRounds * kWidth<float> / took;
}

// A thread's share of so many bytes, in whole lines of the cache.
size_t floats_of_a_thread(size_t bytes) {
  return bytes / sizeof(float) / std::max(1u, std::thread::hardware_concurrency()) / 16 * 16;
}

struct Free {
  void operator()(float* memory) const { std::free(memory); }
};
using Buffer = std::unique_ptr<float, Free>;

Buffer make_buffer(size_t count) {
  Buffer buffer(static_cast<float*>(std::aligned_alloc(64, 4 * count)));
  std::fill(buffer.get(), buffer.get() + count, 1.0f);
  return buffer;
}

// Copies so much that all threads together read and write `bytes`.
double copy(size_t bytes, bool past_the_caches) {
  const size_t count = floats_of_a_thread(bytes / 2);
  const Buffer from = make_buffer(count), to = make_buffer(count);
  const int64_t rounds = std::max<int64_t>(400'000'000 / int64_t(bytes), 4);
  const double begin = seconds();
  for (int64_t i = 0; i < rounds; ++i) {
    if (past_the_caches)
      for (size_t k = 0; k < count; k += kWidth<float>) stream(to.get() + k, load(from.get() + k));
    else
      std::memcpy(to.get(), from.get(), 4 * count);
    asm volatile("" ::"r"(to.get()) : "memory");
  }
  return 8.0 * double(count) * double(rounds) / (seconds() - begin);
}

// Writes past the caches, and reads nothing. The values are not zero, as some memories take zeros faster.
double write() {
  const size_t count = floats_of_a_thread(16 << 20);
  const Buffer to = make_buffer(count);
  constexpr int64_t kRounds = 40;
  const double begin = seconds();
  for (int64_t i = 0; i < kRounds; ++i)
    for (size_t k = 0; k < count; k += kWidth<float>) stream(to.get() + k, broadcast(float(k + 1)));
  return 4.0 * double(count) * double(kRounds) / (seconds() - begin);
}

void print_roofs() {
  std::printf("{\"multiply_add\": %.4g, \"written\": %.4g", rate(multiply_add), rate(write));
  for (const auto& [name, past] : {std::pair{"copied", false}, {"streamed", true}}) {
    std::printf(", \"%s\": {", name);
    const char* separator = "";
    for (const size_t megabytes : {6, 13, 25, 50}) {
      std::printf("%s\"%zu\": %.4g", separator, megabytes,
                  rate([&, past = past] { return copy(megabytes << 20, past); }));
      separator = ", ";
    }
    std::printf("}");
  }
  std::printf("}\n");
}

}  // namespace

int main() { print_roofs(); }
