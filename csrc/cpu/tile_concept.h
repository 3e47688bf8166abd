// What a kind of tile offers to the passes.
#pragma once

#include <concepts>

#include "cpu/tile.h"

namespace mnad::cpu::MNAD_ISA {

template <class A>
class RowTile;

// A pass is written once, for any X that is a Tile of queries in the computing type A. Maps may have any storage type;
// the concept is checked with maps of A.
template <class X, class A>
concept Tile = requires(X tile, const X& queries, A* numbers, const A* map, Strides strides, int64_t n, Items<A> items,
                        const Index<A>* nearest, Target<A, A> target, Products<A> products, Differences<A> differences,
                        FeatureGradient<A> gradient, Forward forward, Backward backward,
                        void (*of_rows)(const RowTile<A>&, int64_t, int64_t)) {
  // What it takes: memory, and whether it reads the transposed items.
  { X::elements(n) } -> std::same_as<int64_t>;
  { X::reads_columns(forward) } -> std::same_as<bool>;
  { X::reads_columns(backward) } -> std::same_as<bool>;
  X(numbers, n);

  // How it is filled.
  tile.load_map(map, strides, n);
  tile.load_and_score(map, strides, n, items, numbers, numbers);
  tile.load_both(map, strides, tile, map, strides, n, products);
  tile.fill_zero(n);
  tile.add_weighted_sum(numbers, items);

  // What is computed of it.
  { queries.finite(n) } -> std::same_as<bool>;
  queries.multiply_with(queries, products);
  queries.dots_with(queries, numbers);
  queries.dots(items, numbers);
  queries.compare(numbers, items, nearest, nearest, differences);
  queries.by_rows(numbers, true, of_rows);
  queries.add_outer(numbers, numbers, n, numbers);

  // How it is written: at once, or later by the loads of the next tile.
  queries.write_map(numbers, target);
  queries.write_weighted_sum(numbers, items, target);
  queries.write_gradient(gradient, queries, items, target);
  { X::compares_while_writing(items) } -> std::same_as<bool>;
  queries.write_and_compare(numbers, items, nearest, nearest, target, differences);
  typename X::template Deferred<A>;
};

}  // namespace mnad::cpu::MNAD_ISA
