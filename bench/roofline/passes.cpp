// Runs passes of the CPU kernels at the published shape, for an instruction counter to watch: passes read|step B N
// runs N of them in one thread. A step is the forward with losses and statistics, and the backward.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "cpu/launchers.h"

using namespace mnad;

namespace {

constexpr int64_t kChannels = 512, kPositions = 1024, kItems = 10;

void in_this_thread(int64_t n, int64_t, const std::function<void(int64_t, int64_t)>& work) { work(0, n); }

std::vector<float> draw(int64_t count) {
  std::vector<float> values(count);
  uint32_t state = 1;
  for (float& value : values) value = float((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f;
  return values;
}

void run_passes(bool step, int64_t B, int64_t times) {
  const int64_t size = kChannels * kPositions, per_query = B * 2 * kPositions;
  const auto features = draw(B * size), items = draw(kItems * kChannels), grad_output = draw(2 * B * size);
  const auto losses = draw(B);
  std::vector<float> output(2 * B * size), weights(B * kItems * kPositions), scores(per_query), distances(per_query);
  std::vector<float> compactness(B), separateness(B), grad_features(B * size);
  std::vector<float> weighted_sum(kItems * kChannels), total(kItems), peak_all(kItems), peak_assigned(kItems);
  std::vector<int64_t> indices(per_query), counts(kItems);
  const Strides single{size, kPositions, 1}, twofold{2 * size, kPositions, 1};

  Forward forward{};
  forward.shape = {B, kChannels, kPositions, kItems, false};
  forward.features = features.data(), forward.features_strides = single;
  forward.items = items.data();
  forward.output = output.data(), forward.output_strides = twofold;
  forward.weights = weights.data();
  Backward backward{};
  if (step) {
    forward.indices = indices.data(), forward.scores = scores.data(), forward.distances = distances.data();
    forward.compactness = compactness.data(), forward.separateness = separateness.data();
    forward.statistics = {weighted_sum.data(), total.data(), counts.data(), peak_all.data(), peak_assigned.data()};
    backward.shape = forward.shape;
    backward.features = features.data(), backward.features_strides = single;
    backward.items = items.data(), backward.weights = weights.data();
    backward.indices = indices.data(), backward.scores = scores.data(), backward.distances = distances.data();
    backward.grad_output = grad_output.data(), backward.grad_output_strides = twofold;
    backward.grad_compactness = backward.grad_separateness = losses.data();
    backward.grad_features = grad_features.data(), backward.grad_features_strides = single;
  }
  for (int64_t i = 0; i < times; ++i) {
    cpu::forward(forward, in_this_thread);
    if (step) cpu::backward(backward, in_this_thread);
  }
}

}  // namespace

int main(int count, char** words) {
  if (count != 4) return 2;
  const bool step = std::strcmp(words[1], "step") == 0;
  if (!step && std::strcmp(words[1], "read") != 0) return 2;
  run_passes(step, std::atoll(words[2]), std::atoll(words[3]));
  return 0;
}
