// The items that the samples of a pass read.
#pragma once

#include "core/pass.h"
#include "cpu/simd.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
struct Items {
  const A* rows;     // (M, length), rows padded with zeros to whole vectors
  const A* columns;  // (length, breadth), the same transposed; null where no tile reads it
  int64_t M, C, length, breadth;

  const A* operator[](int64_t m) const { return rows + m * length; }
};

template <class A>
class SampleItems {
 public:
  // `columns` has room for the transposed items of a sample or, if no tile reads these, is null.
  SampleItems(const void* rows, const Shape& shape, A* columns)
      : all_(static_cast<const A*>(rows)),
        per_sample_(shape.items_per_sample),
        columns_(columns),
        items_{nullptr, columns, shape.M, shape.C, padded<A>(shape.C), padded<A>(shape.M)} {}

  static int64_t column_elements(const Shape& shape) { return padded<A>(shape.C) * padded<A>(shape.M); }

  const Items<A>& of(int64_t b) {
    const A* rows = all_ + (per_sample_ ? b * items_.M * items_.length : 0);
    if (items_.rows != rows) {
      items_.rows = rows;
      if (columns_) fill_columns();
    }
    return items_;
  }

 private:
  void fill_columns() const {
    constexpr int W = kWidth<A>;
    for (int64_t c = 0; c < items_.length; c += W)
      for (int64_t first = 0; first < items_.breadth; first += W) {
        Vector<A> block[W];
        for (int i = 0; i < W; ++i) block[i] = first + i < items_.M ? load(items_[first + i] + c) : Vector<A>{};
        transpose<A>(block);
        for (int i = 0; i < W; ++i) store(columns_ + (c + i) * items_.breadth + first, block[i]);
      }
  }

  const A* all_;
  bool per_sample_;
  A* columns_;
  Items<A> items_;
};

}  // namespace mnad::cpu::MNAD_ISA
