// Runs passes by the emulated CUDA kernels and by the CPU kernels and compares what they give; meant to be compiled
// with sanitizers, which watch both.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "cpu/launchers.h"
#include "cuda/launchers.h"
#include "cuda_emulator.h"

using namespace mnad;

namespace {

struct Case {
  int64_t B, C, P, M;
  bool items_per_sample, channels_last;
};

const Case kCases[] = {
    {1, 1, 1, 2, false, false},
    {2, 7, 15, 2, false, true},
    {1, 129, 33, 7, false, false},
    {2, 16, 40, 12, true, true},
    {1, 64, 100, 10, true, false},
    // Of the fast kind, by tiles of 8, 16 and 32 positions, and with the next tile in hand.
    {2, 64, 40, 10, false, false},
    {1, 32, 64, 10, false, true},
    {3, 32, 24, 5, true, true},
    {1, 32, 32, 10, false, false},
    {1, 96, 104, 10, false, true},
};

std::mt19937 source(1);

std::vector<float> draw(int64_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(source);
  return values;
}

std::vector<float> draw_items(const Case& c) {
  std::vector<float> items = draw((c.items_per_sample ? c.B : 1) * c.M * c.C);
  for (size_t row = 0; row < items.size(); row += c.C) {
    float square = 0;
    for (int64_t i = 0; i < c.C; ++i) square += items[row + i] * items[row + i];
    for (int64_t i = 0; i < c.C; ++i) items[row + i] /= std::sqrt(square);
  }
  return items;
}

Strides strides(const Case& c, int64_t channels) {
  if (c.channels_last) return {channels * c.P, 1, channels};
  return {channels * c.P, c.P, 1};
}

// The results of both passes, each array in memory of its own so that an overrun is seen.
struct Results {
  std::vector<float> output, weights, scores, distances, compactness, separateness;
  std::vector<float> weighted_sum, total, peak_all, peak_assigned, grad_features, grad_items;
  std::vector<float> grad_features_alone;  // without gradients of the weights and of the items
  std::vector<int64_t> indices, counts;

  explicit Results(const Case& c) {
    const int64_t items = (c.items_per_sample ? c.B : 1) * c.M;
    output.resize(c.B * 2 * c.C * c.P), weights.resize(c.B * c.M * c.P), scores.resize(c.B * 2 * c.P);
    distances.resize(c.B * 2 * c.P);
    compactness.resize(c.B), separateness.resize(c.B), indices.resize(c.B * 2 * c.P), counts.resize(items);
    weighted_sum.resize(items * c.C), grad_items.resize(items * c.C), grad_features.resize(c.B * c.C * c.P);
    grad_features_alone.resize(c.B * c.C * c.P);
    total.resize(items), peak_all.resize(items), peak_assigned.resize(items);
  }
};

Forward forward_pass(const Case& c, const std::vector<float>& features, const std::vector<float>& items, Results& to) {
  Forward pass{};
  pass.dtype = DType::f32;
  pass.shape = {c.B, c.C, c.P, c.M, c.items_per_sample};
  pass.features = features.data(), pass.features_strides = strides(c, c.C);
  pass.items = items.data();
  pass.output = to.output.data(), pass.output_strides = strides(c, 2 * c.C);
  pass.weights = to.weights.data(), pass.indices = to.indices.data(), pass.scores = to.scores.data();
  pass.distances = to.distances.data();
  pass.compactness = to.compactness.data(), pass.separateness = to.separateness.data();
  pass.statistics = {to.weighted_sum.data(), to.total.data(), to.counts.data(), to.peak_all.data(),
                     to.peak_assigned.data()};
  return pass;
}

Backward backward_pass(const Forward& forward, const std::vector<float>& grad_output,
                       const std::vector<float>& grad_weights, const std::vector<float>& grad_losses, Results& to) {
  Backward pass{};
  pass.dtype = forward.dtype, pass.shape = forward.shape;
  pass.features = forward.features, pass.features_strides = forward.features_strides;
  pass.items = forward.items, pass.weights = forward.weights, pass.indices = forward.indices;
  pass.scores = forward.scores, pass.distances = forward.distances;
  pass.grad_through_weights = true;
  pass.grad_output = grad_output.data(), pass.grad_output_strides = forward.output_strides;
  pass.grad_weights = grad_weights.data();
  pass.grad_compactness = pass.grad_separateness = grad_losses.data();
  pass.grad_features = to.grad_features.data(), pass.grad_features_strides = forward.features_strides;
  pass.grad_items = to.grad_items.data();
  return pass;
}

Backward without_items(Backward pass, Results& to) {
  pass.grad_through_weights = false;
  pass.grad_weights = pass.grad_items = nullptr;
  pass.weights = nullptr;
  pass.grad_features = to.grad_features_alone.data();
  return pass;
}

template <class Pass>
bool run_emulated(const Pass& pass) {
  cuda::Plan plan;
  if (cuda::Planner(pass).plan(plan) != cudaSuccess) return false;
  std::vector<char> scratch(plan.scratch_bytes);
  return cuda::run(pass, plan, scratch.data(), nullptr) == cudaSuccess;
}

void in_threads(int64_t n, int64_t, const std::function<void(int64_t, int64_t)>& work) {
  std::vector<std::thread> threads;
  const int64_t half = n / 2;
  if (half > 0) threads.emplace_back(work, 0, half);
  if (n > half) threads.emplace_back(work, half, n);
  for (std::thread& thread : threads) thread.join();
}

bool check(const char* name, const std::vector<float>& actual, const std::vector<float>& expected) {
  for (size_t i = 0; i < actual.size(); ++i) {
    if (actual[i] == expected[i] || std::abs(actual[i] - expected[i]) <= 1e-5f * (1 + std::abs(expected[i]))) continue;
    std::printf("%s[%zu] is %g by the CUDA kernel and %g by the CPU kernel\n", name, i, actual[i], expected[i]);
    return false;
  }
  return true;
}

bool run(const Case& c) {
  const auto features = draw(c.B * c.C * c.P), items = draw_items(c);
  const auto grad_output = draw(c.B * 2 * c.C * c.P), grad_weights = draw(c.B * c.M * c.P), grad_losses = draw(c.B);
  Results cuda_results(c), cpu_results(c);

  const Forward cuda_forward = forward_pass(c, features, items, cuda_results);
  if (!run_emulated(cuda_forward)) return false;
  const Backward cuda_backward = backward_pass(cuda_forward, grad_output, grad_weights, grad_losses, cuda_results);
  if (!run_emulated(cuda_backward)) return false;
  if (!run_emulated(without_items(cuda_backward, cuda_results))) return false;

  const Forward cpu_forward = forward_pass(c, features, items, cpu_results);
  cpu::forward(cpu_forward, in_threads);
  const Backward cpu_backward = backward_pass(cpu_forward, grad_output, grad_weights, grad_losses, cpu_results);
  cpu::backward(cpu_backward, in_threads);
  cpu::backward(without_items(cpu_backward, cpu_results), in_threads);

  const Results &a = cuda_results, &b = cpu_results;
  return check("output", a.output, b.output) && check("weights", a.weights, b.weights) &&
         check("scores", a.scores, b.scores) && check("distances", a.distances, b.distances) &&
         check("compactness", a.compactness, b.compactness) && check("separateness", a.separateness, b.separateness) &&
         check("weighted_sum", a.weighted_sum, b.weighted_sum) && check("total", a.total, b.total) &&
         check("peak_all", a.peak_all, b.peak_all) && check("peak_assigned", a.peak_assigned, b.peak_assigned) &&
         a.counts == b.counts && a.indices == b.indices && check("grad_items", a.grad_items, b.grad_items) &&
         // A unit vector of one channel cannot turn: its gradient is 0, and what is left is rounding.
         (c.C == 1 || (check("grad_features", a.grad_features, b.grad_features) &&
                       check("grad_features_alone", a.grad_features_alone, b.grad_features_alone)));
}

}  // namespace

int main() {
  auto& options = cuda_emulator::options();
  for (const int shared_kib : {227, 20})  // all arrays in shared memory; not all
    for (int schedule = 0; schedule < 4; ++schedule)
      for (const Case& c : kCases) {
        options.schedule = cuda_emulator::Schedule(schedule);
        options.processors = schedule < 2 ? 1 : 4;
        options.shared_per_block = shared_kib << 10;
        if (!run(c)) return 1;
      }
  std::puts("the same results");
  return 0;
}
