// What chunks leave behind, and how their sums by item are added up: in the order of a binary tree over the chunks,
// which is the same for any number of threads. A thread adds up its own chunks itself where it can: the lines that
// another core has written have to be transferred from its cache.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mnad::cpu {

// One chunk's partial results, laid out in a block of bytes. Rows are padded to `row` elements.
template <class A>
struct Partial {
  int64_t* span;     // chunks that the rows are the sum of: written by PartialRows::add_within, read by finish
  int64_t* count;    // (M)
  A* losses;         // compactness, separateness
  A* total;          // (M)
  A* peak_all;       // (M)
  A* peak_assigned;  // (M)
  A* rows;           // (M, row): weighted_sum, or grad_items in a backward pass

  static int64_t bytes(int64_t M, int64_t row) {
    return in_lines((1 + M) * sizeof(int64_t)) + in_lines((2 + 3 * M) * sizeof(A)) + in_lines(M * row * sizeof(A));
  }

  Partial(void* partials, int64_t index, int64_t M, int64_t row) {
    char* base = static_cast<char*>(partials) + index * bytes(M, row);
    span = reinterpret_cast<int64_t*>(base);
    count = span + 1;
    losses = reinterpret_cast<A*>(base + in_lines((1 + M) * sizeof(int64_t)));
    total = losses + 2;
    peak_all = total + M;
    peak_assigned = peak_all + M;
    rows = reinterpret_cast<A*>(reinterpret_cast<char*>(losses) + in_lines((2 + 3 * M) * sizeof(A)));
  }

 private:
  // Bytes, rounded up to whole lines of the cache.
  static int64_t in_lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }
};

// The rows of all chunks; `chunks` of them one after the other belong to one memory.
template <class A>
class PartialRows {
 public:
  PartialRows(void* partials, int64_t chunks, int64_t M, int64_t row)
      : partials_(partials), chunks_(chunks), M_(M), row_(row) {}

  // Does those additions of the tree whose chunks are all in [begin, end): not empty, and of one memory or several.
  void add_within(int64_t begin, int64_t end) const {
    for (int64_t chunk = begin; chunk < end; ++chunk) *at(chunk).span = 1;
    for (int64_t first = begin / chunks_ * chunks_; first < end; first += chunks_)
      for_each_addition([&](int64_t i, int64_t step) {
        const int64_t last = std::min(i + 2 * step, chunks_);
        if (first + i < begin || first + last > end) return;
        for (int64_t m = 0; m < M_; ++m) add(first + i, step, m);
        *at(first + i).span = last - i;
      });
  }

  // Adds up the rest of row m of a memory, and writes C elements of it.
  void finish(int64_t memory, int64_t m, int64_t C, A* to) const {
    if (chunks_ == 0) {
      std::fill(to, to + C, A(0));
      return;
    }
    const int64_t first = memory * chunks_;
    for_each_addition([&](int64_t i, int64_t step) {
      if (*at(first + i).span <= step) add(first + i, step, m);
    });
    const A* sum = at(first).rows + m * row_;
    std::copy(sum, sum + C, to);
  }

 private:
  Partial<A> at(int64_t chunk) const { return {partials_, chunk, M_, row_}; }

  // Calls f(i, step) for the additions of a memory's chunk i + step to chunk i, each after those that it needs.
  template <class F>
  void for_each_addition(F&& f) const {
    for (int64_t step = 1; step < chunks_; step *= 2)
      for (int64_t i = 0; i + step < chunks_; i += 2 * step) f(i, step);
  }

  void add(int64_t chunk, int64_t step, int64_t m) const {
    A* to = at(chunk).rows + m * row_;
    const A* from = at(chunk + step).rows + m * row_;
    for (int64_t c = 0; c < row_; ++c) to[c] += from[c];
  }

  void* partials_;
  int64_t chunks_, M_, row_;
};

}  // namespace mnad::cpu
