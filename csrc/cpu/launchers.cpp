// Cuts a pass into chunks, runs them in threads and adds up what they leave, in order.
#include "cpu/launchers.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <span>

#include "cpu/kernels.h"
#include "cpu/partials.h"
#include "cpu/plan.h"

namespace mnad::cpu {
namespace {

// Memory that a thread keeps between calls, as fresh pages cost more than a small pass.
class ReusedMemory {
 public:
  std::span<std::byte> first(size_t bytes) {
    if (bytes > size_) {
      memory_.reset();
      size_ = 0;
      memory_.reset(::operator new(bytes, std::align_val_t{64}));
      size_ = bytes;
    }
    return {static_cast<std::byte*>(memory_.get()), bytes};
  }

 private:
  struct Delete {
    void operator()(void* memory) const { ::operator delete(memory, std::align_val_t{64}); }
  };
  std::unique_ptr<void, Delete> memory_;
  size_t size_ = 0;
};

thread_local ReusedMemory tile_memory, partial_memory, row_memory;

// The channels, rounded up to whole vectors of the instruction set.
template <class A>
int64_t padded_channels(const Shape& shape) {
  const int64_t width = kernels().vector_bytes / int64_t{sizeof(A)};
  return (shape.C + width - 1) / width * width;
}

// The items in rows of `length`, the last elements of which are 0.
template <class A>
const void* pad_rows(const void* items, const Shape& shape, int64_t length) {
  if (length == shape.C) return items;
  const int64_t rows = shape.memories() * shape.M;
  A* to = reinterpret_cast<A*>(row_memory.first(rows * length * sizeof(A)).data());
  const A* from = static_cast<const A*>(items);
  for (int64_t row = 0; row < rows; ++row) {
    std::copy(from + row * shape.C, from + (row + 1) * shape.C, to + row * length);
    std::fill(to + row * length + shape.C, to + (row + 1) * length, A(0));
  }
  return to;
}

template <class A>
void add_up_losses(const Forward& pass, const Plan& plan, void* partials, int64_t M, int64_t row) {
  const Shape& shape = pass.shape;
  const int64_t per_sample = plan.chunks_per_sample;
  for (int64_t b = 0; b < shape.B; ++b) {
    double compactness = 0, separateness = 0;
    for (int64_t chunk = b * per_sample; chunk < (b + 1) * per_sample; ++chunk) {
      const A* losses = Partial<A>(partials, chunk, M, row).losses;
      compactness += losses[0];
      separateness += losses[1];
    }
    static_cast<A*>(pass.compactness)[b] = A(compactness / (double(shape.P) * double(shape.C)));
    static_cast<A*>(pass.separateness)[b] = A(separateness / double(shape.P));
  }
}

template <class A>
void add_up_statistics(const Forward& pass, const Plan& plan, void* partials, int64_t row, int64_t memory, int64_t m) {
  const Shape& shape = pass.shape;
  const int64_t begin = memory * plan.chunks_per_memory, end = begin + plan.chunks_per_memory;
  const Statistics& to = pass.statistics;
  const int64_t at = memory * shape.M + m;
  int64_t count = 0;
  double total = 0;
  A peak_all = -std::numeric_limits<A>::infinity(), peak_assigned = peak_all;
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    const Partial<A> from(partials, chunk, shape.M, row);
    count += from.count[m];
    total += from.total[m];
    peak_all = std::max(peak_all, from.peak_all[m]);
    peak_assigned = std::max(peak_assigned, from.peak_assigned[m]);
  }
  to.counts[at] = count;
  static_cast<A*>(to.total)[at] = A(total);
  static_cast<A*>(to.peak_all)[at] = peak_all;
  static_cast<A*>(to.peak_assigned)[at] = peak_assigned;
}

// Rows of partial sums that are worth another thread.
int64_t rows_of_a_thread(const Plan& plan, const Shape& shape) {
  const int64_t additions = std::max<int64_t>(plan.chunks_per_memory * shape.C, 1);
  return std::max<int64_t>(kAdditionsOfThread / additions, 1);
}

template <class A>
void run_forward(const Forward& pass, ParallelFor parallel_for) {
  const Shape& shape = pass.shape;
  const bool sums = pass.wants_statistics();
  Plan plan(shape, sums);
  plan.streaming = streaming(pass, kernels().vector_bytes);
  const int64_t length = padded_channels<A>(shape);
  const int64_t M = sums ? shape.M : 0;
  const void* items = pad_rows<A>(pass.items, shape, length);
  void* partials = partial_memory.first(plan.chunks * Partial<A>::bytes(M, length)).data();
  const PartialRows<A> rows(partials, plan.chunks_per_memory, shape.M, length);
  const size_t scratch = kernels().forward_scratch_bytes(pass);
  parallel_for(plan.chunks, 1, [&](int64_t begin, int64_t end) {
    kernels().forward(pass, plan, items, partials, tile_memory.first(scratch), begin, end);
    if (sums) rows.add_within(begin, end);
  });
  if (pass.wants_losses()) add_up_losses<A>(pass, plan, partials, M, length);
  if (!sums) return;
  parallel_for(shape.memories() * shape.M, rows_of_a_thread(plan, shape), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      add_up_statistics<A>(pass, plan, partials, length, i / shape.M, i % shape.M);
      rows.finish(i / shape.M, i % shape.M, shape.C, static_cast<A*>(pass.statistics.weighted_sum) + i * shape.C);
    }
  });
}

template <class A>
void run_backward(const Backward& pass, ParallelFor parallel_for) {
  const Shape& shape = pass.shape;
  const bool sums = pass.grad_items != nullptr;
  Plan plan(shape, sums);
  plan.streaming = streaming(pass, kernels().vector_bytes);
  const int64_t length = padded_channels<A>(shape);
  const void* items = pad_rows<A>(pass.items, shape, length);
  const int64_t bytes = sums ? plan.chunks * Partial<A>::bytes(shape.M, length) : 0;
  void* partials = partial_memory.first(bytes).data();
  const PartialRows<A> rows(partials, plan.chunks_per_memory, shape.M, length);
  const size_t scratch = kernels().backward_scratch_bytes(pass);
  parallel_for(plan.chunks, 1, [&](int64_t begin, int64_t end) {
    kernels().backward(pass, plan, items, partials, tile_memory.first(scratch), begin, end);
    if (sums) rows.add_within(begin, end);
  });
  if (!sums) return;
  parallel_for(shape.memories() * shape.M, rows_of_a_thread(plan, shape), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      rows.finish(i / shape.M, i % shape.M, shape.C, static_cast<A*>(pass.grad_items) + i * shape.C);
  });
}

}  // namespace

void forward(const Forward& pass, ParallelFor parallel_for) {
  pass.dtype == DType::f64 ? run_forward<double>(pass, parallel_for) : run_forward<float>(pass, parallel_for);
}

void backward(const Backward& pass, ParallelFor parallel_for) {
  pass.dtype == DType::f64 ? run_backward<double>(pass, parallel_for) : run_backward<float>(pass, parallel_for);
}

}  // namespace mnad::cpu
