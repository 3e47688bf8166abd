// How a pass is cut into tiles and chunks, and where a block keeps its arrays.
//
// A tile is 8, 16 or 32 positions of one sample, with all their channels. A chunk is a run of tiles of one sample;
// one block works on it and leaves one partial sum behind. A second kernel adds the partial sums in the order of the
// chunks, so the same input gives the same bits on the same device.
//
// The arrays of a block lie in shared memory as far as it reaches, in the order of their use, and in the block's
// part of the scratch memory otherwise: any number of channels and items works, the usual ones at full speed.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>

#include "core/pass.h"

namespace mnad::cuda {

constexpr int kThreads = 256;
constexpr int kItemBlock = 10;        // items that a thread keeps sums of in registers at once
constexpr int kLargestTile = 32;      // positions
constexpr int kSmallestTile = 8;      // positions: 32 bytes of float32, the smallest piece that memory moves
constexpr size_t kWanted = 72 << 10;  // shared memory of a block that leaves room for two more beside it

constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Of a chunk's partial sums, see Partial in block.cuh.
constexpr int64_t partial_bytes(int64_t M, int64_t channels, int64_t element) {
  return round_up(M, 4) * int64_t{sizeof(int64_t)} + (4 + 3 * round_up(M, 4) + M * channels) * element;
}

struct Device {
  int processors = 0;
  size_t shared_per_block = 0;

  cudaError_t read() {
    int device = 0, shared = 0;
    cudaError_t error = cudaGetDevice(&device);
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    shared_per_block = size_t(shared);
    return error;
  }
};

// Where an array of a block begins; not present if `offset` is negative.
struct Place {
  int64_t offset = -1;
  bool shared = true;

  constexpr bool present() const { return offset >= 0; }
};

// What a pass keeps of a tile: arrays of (C, tile) in storage or computing type, of (M, tile), of (M, C).
struct Needs {
  bool grad_query = false, grad_readout = false, grad_scores = false, sums = false;
};

struct Plan {
  int tile;         // positions
  int channels;     // C, rounded up to whole packs
  int pitch;        // elements between the rows of a tile
  int items_pitch;  // elements between padded items
  bool channels_last;

  Place positions, reduction, queries, scores, items, sums, grad_query, grad_readout, grad_scores;
  size_t shared_bytes, scratch_per_chunk;

  int64_t tiles_per_chunk, chunks_per_sample, chunks;
  int64_t items_at, chunks_at;  // where padded items and the chunks' arrays begin in the scratch memory
  size_t scratch_bytes;

  constexpr bool all_shared() const { return scratch_per_chunk == 0 && items.shared && sums.shared; }
};

// Gives every array its place and cuts the pass into chunks.
class Planner {
 public:
  Planner(const Shape& shape, DType dtype, Strides features, Needs needs)
      : shape_(shape),
        needs_(needs),
        storage_(dtype == DType::f64   ? 8
                 : dtype == DType::f32 ? 4
                                       : 2),
        computing_(dtype == DType::f64 ? 8 : 4),
        channels_last_(features.c == 1 && features.p != 1) {}

  cudaError_t plan(Plan& plan) {
    const cudaError_t error = device_.read();
    if (error != cudaSuccess) return error;
    const size_t wanted = std::min(kWanted, device_.shared_per_block);
    int tile = kLargestTile;
    plan = arrange(tile, wanted);
    // A large tile moves memory in long pieces, but every processor should have one or two.
    while (tile > kSmallestTile && (!plan.all_shared() || tiles(tile) * shape_.B < 2 * device_.processors))
      plan = arrange(tile /= 2, wanted);
    if (!plan.all_shared()) plan = arrange(tile, device_.shared_per_block);
    cut(plan);
    return cudaSuccess;
  }

 private:
  int64_t tiles(int tile) const { return (shape_.P + tile - 1) / tile; }

  Place place(Plan& plan, int64_t bytes, size_t shared_limit) {
    bytes = round_up(bytes, 16);
    if (plan.shared_bytes + size_t(bytes) <= shared_limit) {
      plan.shared_bytes += size_t(bytes);
      return {int64_t(plan.shared_bytes) - bytes, true};
    }
    plan.scratch_per_chunk += size_t(bytes);
    return {int64_t(plan.scratch_per_chunk) - bytes, false};
  }

  Plan arrange(int tile, size_t limit) {
    Plan plan{};
    const int64_t M = shape_.M, pack = 16 / storage_;
    plan.tile = tile;
    plan.channels = int(round_up(shape_.C, 8));
    plan.channels_last = channels_last_;
    plan.pitch = int((channels_last_ ? plan.channels : tile) + pack);
    plan.items_pitch = plan.channels + 4;
    const int64_t tile_elements = int64_t(plan.pitch) * (channels_last_ ? tile : plan.channels);
    plan.positions = place(plan, kPositionArrays * kLargestTile * 8, limit);
    plan.reduction = place(plan, kItemBlock * kThreads * computing_, limit);
    plan.scores = place(plan, M * tile * computing_, limit);
    plan.queries = place(plan, tile_elements * storage_, limit);
    if (needs_.grad_query) plan.grad_query = place(plan, tile_elements * computing_, limit);
    if (needs_.grad_readout) plan.grad_readout = place(plan, tile_elements * storage_, limit);
    if (needs_.grad_scores) plan.grad_scores = place(plan, M * tile * computing_, limit);
    plan.items = place_shared_or_elsewhere(plan, M * plan.items_pitch * computing_, limit);
    if (needs_.sums) plan.sums = place_shared_or_elsewhere(plan, M * plan.channels * computing_, limit);
    return plan;
  }

  // Items and sums that don't fit have places of their own: padded copies for all blocks, and the partial sums.
  Place place_shared_or_elsewhere(Plan& plan, int64_t bytes, size_t limit) {
    const size_t before = plan.scratch_per_chunk;
    const Place found = place(plan, bytes, limit);
    plan.scratch_per_chunk = before;
    return found.shared ? found : Place{0, false};
  }

  void cut(Plan& plan) const {
    const int64_t B = std::max<int64_t>(shape_.B, 1), rows = needs_.sums ? shape_.M : 0;
    const int64_t partial = partial_bytes(rows, plan.channels, computing_);
    int64_t wanted = 8 * device_.processors;
    if (needs_.sums) wanted = std::clamp(kMostPartialBytes / partial, int64_t{device_.processors}, wanted);
    const int64_t all = std::max<int64_t>(tiles(plan.tile), 1);
    const int64_t per_sample = std::clamp<int64_t>(wanted / B, 1, all);
    plan.tiles_per_chunk = (all + per_sample - 1) / per_sample;
    plan.chunks_per_sample = (tiles(plan.tile) + plan.tiles_per_chunk - 1) / plan.tiles_per_chunk;
    plan.chunks = shape_.B * plan.chunks_per_sample;
    plan.items_at = round_up(plan.chunks * partial, 256);
    const int64_t item_rows = plan.items.shared ? 0 : shape_.memories() * shape_.M;
    plan.chunks_at = round_up(plan.items_at + item_rows * plan.items_pitch * computing_, 256);
    plan.scratch_bytes = size_t(plan.chunks_at) + size_t(plan.chunks) * plan.scratch_per_chunk;
  }

  static constexpr int64_t kPositionArrays = 10;
  static constexpr int64_t kMostPartialBytes = int64_t{64} << 20;

  const Shape shape_;
  const Needs needs_;
  const int64_t storage_, computing_;  // bytes of an element
  const bool channels_last_;
  Device device_;
};

}  // namespace mnad::cuda
