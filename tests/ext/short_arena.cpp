// Runs passes of the CPU kernels on scratch memory of the size that they ask for, or of one cache line less:
// short_arena exact|forward|backward. What an overrun would reach is the program's own.
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <span>
#include <vector>

#include "cpu/kernels.h"

using namespace mnad;

namespace {

constexpr size_t kLine = 64;

// Memory that begins at a cache line.
class Memory {
 public:
  explicit Memory(size_t bytes) : bytes_(bytes + kLine) {}
  std::byte* data() { return bytes_.data() + (kLine - reinterpret_cast<uintptr_t>(bytes_.data()) % kLine) % kLine; }

 private:
  std::vector<std::byte> bytes_;
};

// A float32 step and its backward pass on one sample, in one chunk.
void run(const Shape& shape, bool channels_last, size_t missing_forward, size_t missing_backward) {
  const cpu::Kernels& kernels = cpu::kernels_baseline;
  const int64_t C = shape.C, P = shape.P, M = shape.M, width = kernels.vector_bytes / int64_t{sizeof(float)};
  const auto strides = [&](int64_t channels) {
    return channels_last ? Strides{channels * P, 1, channels} : Strides{channels * P, P, 1};
  };
  std::vector<float> features(C * P, 0.5f), grad_output(2 * C * P, 0.25f), grad_weights(M * P, 0.125f);
  std::vector<float> items(M * ((C + width - 1) / width * width), 0.75f), loss(1, 1.0f);
  std::vector<float> output(2 * C * P), weights(M * P), scores(2 * P), distances(2 * P), sums(M * C), numbers(3 * M);
  std::vector<float> grad_features(C * P), grad_items(M * C);
  std::vector<int64_t> indices(2 * P), counts(M);

  Forward forward{};
  forward.shape = shape;
  forward.features = features.data(), forward.features_strides = strides(C);
  forward.items = items.data();
  forward.output = output.data(), forward.output_strides = strides(2 * C);
  forward.weights = weights.data(), forward.indices = indices.data(), forward.scores = scores.data();
  forward.distances = distances.data(), forward.compactness = forward.separateness = loss.data();
  forward.statistics = {sums.data(), &numbers[0], counts.data(), &numbers[M], &numbers[2 * M]};
  Backward backward{};
  backward.shape = shape;
  backward.features = features.data(), backward.features_strides = strides(C);
  backward.items = items.data(), backward.weights = weights.data();
  backward.indices = indices.data(), backward.scores = scores.data(), backward.distances = distances.data();
  backward.grad_through_weights = true;
  backward.grad_output = grad_output.data(), backward.grad_output_strides = strides(2 * C);
  backward.grad_weights = grad_weights.data();
  backward.grad_compactness = backward.grad_separateness = loss.data();
  backward.grad_features = grad_features.data(), backward.grad_features_strides = strides(C);
  backward.grad_items = grad_items.data();

  const auto run_chunk = [&](const auto& pass, auto kernel, size_t bytes, size_t missing) {
    cpu::Plan plan(shape, true);
    Memory scratch(bytes), partials(plan.chunks * (M + 1) * (C + width + 64) * sizeof(double) + 1024);
    kernel(pass, plan, items.data(), partials.data(), std::span(scratch.data(), bytes - missing), 0, plan.chunks);
  };
  run_chunk(forward, kernels.forward, kernels.forward_scratch_bytes(forward), missing_forward);
  run_chunk(backward, kernels.backward, kernels.backward_scratch_bytes(backward), missing_backward);
}

}  // namespace

int main(int, char** arguments) {
  const size_t missing_forward = std::strcmp(arguments[1], "forward") == 0 ? kLine : 0;
  const size_t missing_backward = std::strcmp(arguments[1], "backward") == 0 ? kLine : 0;
  for (const bool channels_last : {false, true})
    for (const int64_t C : {3, 16, 70})
      for (const int64_t M : {2, 4, 70})
        for (const int64_t P : {1, 128, 130})
          run({1, C, P, M, false}, channels_last, missing_forward, missing_backward);
  std::puts("all passes ran");
}
