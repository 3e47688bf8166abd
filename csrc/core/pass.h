// One pass over the features, forward or backward: what goes in and what is asked for.
//
// Every operator of the memory is such a pass with some of its results asked for. The structs hold raw pointers, so
// that kernels need no torch header. Letters: B samples, C channels, P = H*W positions, M items.
// `A` is the type that is computed in: double for f64, float for everything else.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mnad {

enum class DType { f32, f64, bf16, f16 };

constexpr double kNormEps = 1e-12;
constexpr double kDistanceEps = 1e-6;
constexpr double kMargin = 1.0;

// Strides of a (B, C, P) view, in elements. Contiguous maps have p == 1, channels-last maps have c == 1.
struct Strides {
  int64_t b, c, p;
};

struct Shape {
  int64_t B, C, P, M;
  bool items_per_sample;  // items are (B, M, C) rather than (M, C)

  constexpr int64_t memories() const { return items_per_sample ? B : 1; }
};

// Per-item statistics of the queries: ([B,] M, C) and ([B,] M), see mnad_ext/statistics.py.
struct Statistics {
  void* weighted_sum;   // A ([B,] M, C)
  void* total;          // A ([B,] M)
  int64_t* counts;      // ([B,] M)
  void* peak_all;       // A ([B,] M)
  void* peak_assigned;  // A ([B,] M)
};

// A result that is not asked for is null. `indices` and the losses need M >= 2. All dense results are contiguous.
//
// A query with a non-finite value has NaN scores: its readout, weights and scores are NaN, its unit query NaN at least
// there, its indices 0 and 1, its sample's losses NaN, and the statistics leave it out. Items are finite.
struct Forward {
  DType dtype;  // of features and output
  Shape shape;
  const void* features;  // (B, C, P)
  Strides features_strides;
  const void* items;  // A ([B,] M, C), contiguous

  void* output;  // (B, 2C, P): unit queries, then readouts
  Strides output_strides;
  void* weights;       // A (B, M, P)
  int64_t* indices;    // (B, 2, P), nearest and second nearest; ties go to the lower item
  void* scores;        // A (B, 2, P), their scores
  void* distances;     // A (B, 2, P), d(q, p) = |q - p + eps|, asked for with the losses
  void* compactness;   // A (B), mean over P*C of (q - p_first)^2
  void* separateness;  // A (B), mean over P of max(0, d(q, p_first) - d(q, p_second) + 1)
  Statistics statistics;

  constexpr bool wants_losses() const { return compactness != nullptr; }
  constexpr bool wants_statistics() const { return statistics.weighted_sum != nullptr; }
};

// A gradient that does not come is null, and so is one that is not asked for.
struct Backward {
  DType dtype;  // of features, grad_output and grad_features
  Shape shape;
  const void* features;  // (B, C, P)
  Strides features_strides;
  const void* items;       // A ([B,] M, C), contiguous
  const void* weights;     // A (B, M, P), from the forward; may be null where reads_weights() is false
  const int64_t* indices;  // (B, 2, P), from the forward; null when the losses have no gradient
  const void* scores;      // A (B, 2, P), likewise
  const void* distances;   // A (B, 2, P), likewise
  bool grad_through_weights;

  const void* grad_output;  // (B, 2C, P)
  Strides grad_output_strides;
  const void* grad_weights;       // A (B, M, P)
  const void* grad_compactness;   // A (B)
  const void* grad_separateness;  // A (B)

  void* grad_features;  // (B, C, P)
  Strides grad_features_strides;
  void* grad_items;  // A ([B,] M, C); the losses give the items no gradient

  // The gradient of the readout reaches the scores, or the weights have a gradient of their own.
  constexpr bool wants_score_gradient() const {
    return grad_weights != nullptr || (grad_through_weights && grad_output != nullptr);
  }
  constexpr bool reads_grad_readout() const {
    return grad_output != nullptr && (grad_through_weights || grad_items != nullptr);
  }
  constexpr bool reads_weights() const { return wants_score_gradient() || reads_grad_readout(); }
};

// The closing step of an update: p <- normalise(p + scale * weighted_sum), items without queries stay.
enum class UpdateRule { max_all, max_assigned, plain };

struct ItemsUpdate {
  bool is_double;
  int64_t rows, C;    // rows = [B*] M
  const void* items;  // A (rows, C)
  Statistics statistics;
  UpdateRule rule;
  void* new_items;  // A (rows, C)
};

}  // namespace mnad
