// How a pass is cut into tiles and chunks, and where a block keeps its arrays.
//
// A tile is 8, 16 or 32 positions of one sample, with all their channels. A chunk is a run of tiles; one block works on
// it and leaves one partial sum behind. A second kernel adds the partial sums in the order of the chunks, so the same
// input gives the same bits on the same device. A chunk reaches into several samples unless each has items of its own.
//
// The sum over the channels of a query runs in the same order whatever the tile: scores, weights, outputs, distances
// and the gradient of the features have the same bits at every batch size and in both layouts. Sums over positions,
// which are the statistics and the gradient of the items, follow the chunks: from one batch size to another they differ
// by rounding, |error| <= 2 n eps sum |terms| for n positions. The losses are added in double.
//
// There are two kinds of kernels. The fast kind has at most kItemBlock items, everything in shared memory, and maps
// that are read and written 16 bytes at a time: all in the layout of the features, with C a multiple of kWholeChannels
// and P of 8. The general kind takes anything: what does not fit into shared memory lies in the block's part of the
// scratch memory.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <climits>
#include <cstdint>

#include "core/pass.h"

namespace mnad::cuda {

constexpr int kThreads = 256;
constexpr int kWholeChannels = 32;  // C of the fast kind is a multiple, so that all lanes of a warp take the same steps
constexpr int kBlocks = 2;          // on a multiprocessor: registers, shared memory and chunks are planned for so many
constexpr int kWarps = kThreads / 32;
constexpr int kColumns = 8;                   // a tile has so many columns of 1, 2 or 4 positions
constexpr int kGroups = kThreads / kColumns;  // of channels: one thread for each column and group
constexpr int kItemBlock = 10;                // items that a thread keeps sums of in registers at once
constexpr int kLargestTile = 32;              // positions
constexpr int kLargestWithItems = 16;         // of a fast backward pass with gradients of scores or items
constexpr int kSector = 32;                   // bytes: the smallest piece that memory moves
constexpr int64_t kPositionBytes = 2048;      // of what a block knows of its positions, at most
constexpr int64_t kMostPartialBytes = 128 << 20;
constexpr int64_t kLeastChunks = 32;

// Rows of kItemBlock numbers, four rows in a quad. A row begins at 16 bytes, and the rows of 8 quads in different
// banks.
constexpr int kRowPitch = 12, kQuadPitch = 4 * kRowPitch + 4;

// Numbers of a thread's partial sum of a tile, and the distance between those of two threads: odd, so that they lie in
// different banks.
constexpr int kScoreSums = kItemBlock + 1, kPairSums = 4;
constexpr int round_to_quads(int n) { return (n + 3) / 4 * 4; }
constexpr int sums_pitch(int numbers) { return round_to_quads(numbers) + 1; }

constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Of a table with so many rows.
constexpr int64_t table_elements(int64_t rows) { return (rows + 3) / 4 * kQuadPitch; }

// Of a chunk's partial sums, see Partial in finish.cuh.
constexpr int64_t partial_bytes(int64_t M, int64_t channels, int64_t element) {
  return round_up(M, 4) * int64_t{sizeof(int64_t)} + (3 * round_up(M, 4) + M * channels) * element;
}

struct Device {
  int processors = 0, capability = 0;
  int64_t shared_per_block = 0, shared_per_processor = 0, reserved_per_block = 0;

  cudaError_t read() {
    int device = 0, block = 0, processor = 0, reserved = 0;
    cudaError_t error = cudaGetDevice(&device);
    const auto ask = [&](int* value, cudaDeviceAttr attribute) {
      if (error == cudaSuccess) error = cudaDeviceGetAttribute(value, attribute, device);
    };
    ask(&processors, cudaDevAttrMultiProcessorCount);
    ask(&capability, cudaDevAttrComputeCapabilityMajor);
    ask(&block, cudaDevAttrMaxSharedMemoryPerBlockOptin);
    ask(&processor, cudaDevAttrMaxSharedMemoryPerMultiprocessor);
    ask(&reserved, cudaDevAttrReservedSharedMemoryPerBlock);
    shared_per_block = block, shared_per_processor = processor, reserved_per_block = reserved;
    return error;
  }

  // Shared memory of a block that leaves room for so many on a multiprocessor.
  int64_t shared_for(int blocks) const {
    return std::min(shared_per_block, shared_per_processor / blocks - reserved_per_block) / 16 * 16;
  }
};

// Where an array of a block begins: in shared memory or in the block's part of the scratch memory.
struct Slot {
  int64_t offset = 0;
  bool shared = true;
};

// What a pass keeps of a tile.
struct Needs {
  int maps = 1;                     // of the storage type
  bool aligned = false;             // every map can be read and written 16 bytes at a time
  int tables = 1;                   // of a number for each position and item
  int partial_sums = 0;             // numbers of a thread for each position of its column
  bool item_sums = false;           // sums of each item: (M, C) and numbers of each item
  int largest_tile = kLargestTile;  // of the fast kind
  bool twice = false;               // the fast kind may hold the next tile's maps, too
};

template <class Pass>
bool is_channels_last(const Pass& pass) {
  return pass.features_strides.c == 1 && pass.features_strides.p != 1;
}

// Whether a map, if the pass has it at all, can be read and written 16 bytes at a time in the layout of the features.
template <class Pass>
bool is_aligned(const Pass& pass, const void* map, Strides s) {
  const int64_t pack = pass.dtype == DType::f64 ? 2 : pass.dtype == DType::f32 ? 4 : 8;
  const int64_t along = is_channels_last(pass) ? s.c : s.p, across = is_channels_last(pass) ? s.p : s.c;
  return map == nullptr || (along == 1 && across % pack == 0 && (pass.shape.B == 1 || s.b % pack == 0) &&
                            reinterpret_cast<uintptr_t>(map) % 16 == 0);
}
// The same of the items and of numbers for each item and position.
inline bool is_aligned(const void* numbers) { return reinterpret_cast<uintptr_t>(numbers) % 16 == 0; }

inline Needs needs_of(const Forward& pass) {
  Needs needs;
  needs.aligned = is_aligned(pass, pass.features, pass.features_strides) &&
                  is_aligned(pass, pass.output, pass.output_strides) && is_aligned(pass.items) &&
                  is_aligned(pass.weights);
  needs.partial_sums = kScoreSums;
  needs.item_sums = pass.wants_statistics();
  needs.twice = pass.dtype != DType::f64;
  return needs;
}

inline Needs needs_of(const Backward& pass) {
  Needs needs;
  needs.maps = pass.reads_grad_readout() ? 3 : 2;
  needs.aligned = is_aligned(pass, pass.features, pass.features_strides) &&
                  is_aligned(pass, pass.grad_output, pass.grad_output_strides) &&
                  is_aligned(pass, pass.grad_features, pass.grad_features_strides) && is_aligned(pass.items) &&
                  is_aligned(pass.weights) && is_aligned(pass.grad_weights);
  needs.tables = pass.reads_weights() ? 2 : 1;
  needs.partial_sums = kPairSums + (pass.grad_through_weights && pass.grad_output ? kScoreSums : 0);
  needs.item_sums = pass.grad_items != nullptr;
  if (pass.reads_weights() || pass.grad_items) needs.largest_tile = kLargestWithItems;
  return needs;
}

struct Plan {
  bool fast, channels_last;
  bool twice;    // the next tile's map is copied to maps[1] while a tile is worked on, and so on by turns
  int tile;      // positions
  int channels;  // C, rounded up to whole packs
  int pitch;     // elements between the positions of a channels-last tile
  int item_blocks;
  int64_t items_stride, table_stride;  // elements of a table of kItemBlock items, by channels and by positions

  Slot positions, partial_sums, maps[3], tables[2], items, sums, numbers;
  int64_t shared_bytes, scratch_per_chunk;

  // A sequence is all tiles that share items: those of a sample, or of all.
  int64_t tiles_per_sample, tiles_per_sequence, chunks_per_sequence, chunks;
  int64_t items_at, losses_at, chunks_at;  // in the scratch memory; partial sums come first
  int64_t scratch_bytes;
};

// Assigns every array of a pass its slot and cuts the pass into chunks.
class Planner {
 public:
  template <class Pass>
  explicit Planner(const Pass& pass)
      : shape_(pass.shape),
        needs_(needs_of(pass)),
        storage_(pass.dtype == DType::f64   ? 8
                 : pass.dtype == DType::f32 ? 4
                                            : 2),
        computing_(pass.dtype == DType::f64 ? 8 : 4),
        channels_last_(is_channels_last(pass)) {}

  cudaError_t plan(Plan& plan) {
    const cudaError_t error = device_.read();
    if (error != cudaSuccess) return error;
    if (!plan_fast(plan)) plan_general(plan);
    cut(plan);
    // These are counted in int.
    const int64_t most = std::max({shape_.B * plan.tiles_per_sample, int64_t{plan.tile} * shape_.M,
                                   int64_t{plan.tile} * 2 * plan.channels, shape_.memories() * shape_.M});
    return most <= INT_MAX ? cudaSuccess : cudaErrorInvalidConfiguration;
  }

 private:
  int64_t tiles(int tile) const { return (shape_.P + tile - 1) / tile; }

  bool plan_fast(Plan& plan) const {
    if (!needs_.aligned || shape_.M > kItemBlock || shape_.C % kWholeChannels != 0 || shape_.P % 8 != 0) return false;
    const int smallest = channels_last_ ? kColumns : std::max(kColumns, int(kSector / storage_));
    const int largest = storage_ == 8 ? kColumns : needs_.largest_tile;
    if (plan_twice(plan)) return true;
    for (const int blocks : {kBlocks, 1})
      for (int tile = largest; tile >= std::min(smallest, largest); tile /= 2) {
        plan = arrange(tile, device_.shared_for(blocks), true, false);
        // A large tile needs fewer loads of items and barriers, but there should be one for nearly every block.
        const bool enough = tile == smallest || 10 * tiles(tile) * shape_.B >= 9 * kBlocks * device_.processors;
        if (plan.fast && enough) return true;
      }
    return false;
  }

  // Where blocks have several tiles to go through, and two of them fit.
  bool plan_twice(Plan& plan) const {
    constexpr int kCopiesPastRegisters = 8;  // compute capability
    if (!needs_.twice || device_.capability < kCopiesPastRegisters) return false;
    if (tiles(kLargestTile) * shape_.B <= kBlocks * device_.processors) return false;
    plan = arrange(kLargestTile, device_.shared_for(kBlocks), true, true);
    return plan.fast;
  }

  void plan_general(Plan& plan) const {
    const int tile = storage_ == 8 ? kColumns : kLargestTile;
    plan = arrange(tile, device_.shared_for(kBlocks), false, false);
    if (plan.scratch_per_chunk > 0 || !plan.items.shared) plan = arrange(tile, device_.shared_per_block, false, false);
  }

  Plan arrange(int tile, int64_t limit, bool fast, bool twice) const {
    Plan plan{};
    plan.tile = tile;
    plan.channels_last = channels_last_;
    plan.twice = twice;
    plan.channels = int(round_up(shape_.C, 8));
    plan.pitch = int((round_up(plan.channels * storage_, 128) + 16) / storage_);
    plan.item_blocks = int((shape_.M + kItemBlock - 1) / kItemBlock);
    plan.items_stride = table_elements(plan.channels), plan.table_stride = table_elements(tile);
    const int64_t map = int64_t{tile} * (channels_last_ ? plan.pitch : plan.channels);
    plan.positions = take_slot(plan, kPositionBytes, limit);
    plan.partial_sums = take_slot(plan, int64_t{kWarps} * kColumns * sums_of_thread(tile) * computing_, limit);
    for (int i = 0; i < needs_.maps * (twice ? 2 : 1); ++i) plan.maps[i] = take_slot(plan, map * storage_, limit);
    for (int i = 0; i < needs_.tables; ++i)
      plan.tables[i] = take_slot(plan, int64_t{plan.item_blocks} * plan.table_stride * computing_, limit);
    plan.items = take_slot_if_it_fits(plan, plan.item_blocks * plan.items_stride * computing_, limit);
    if (needs_.item_sums) {
      plan.sums = take_slot_if_it_fits(plan, shape_.M * plan.channels * computing_, limit);
      plan.numbers = take_slot_if_it_fits(plan, partial_bytes(shape_.M, 0, computing_), limit);
    }
    plan.fast = fast && plan.scratch_per_chunk == 0 && plan.items.shared && plan.sums.shared && plan.numbers.shared;
    return plan;
  }

  int64_t sums_of_thread(int tile) const { return int64_t{needs_.partial_sums} * (tile / kColumns) + kRestOfPitches; }

  Slot take_slot(Plan& plan, int64_t bytes, int64_t shared_limit) const {
    bytes = round_up(bytes, 16);
    int64_t& end = plan.shared_bytes + bytes <= shared_limit ? plan.shared_bytes : plan.scratch_per_chunk;
    const bool shared = &end == &plan.shared_bytes;
    end += bytes;
    return {end - bytes, shared};
  }

  // Items and sums that don't fit need no slot of a block: there is a copy of the items for all, and the partial sums.
  Slot take_slot_if_it_fits(Plan& plan, int64_t bytes, int64_t limit) const {
    const int64_t before = plan.scratch_per_chunk;
    const Slot found = take_slot(plan, bytes, limit);
    plan.scratch_per_chunk = before;
    return found.shared ? found : Slot{0, false};
  }

  void cut(Plan& plan) const {
    const int64_t sequences = std::max<int64_t>(shape_.memories(), 1);
    const int64_t partial = needs_.item_sums ? partial_bytes(shape_.M, plan.channels, computing_) : 0;
    int64_t most = int64_t{kBlocks} * device_.processors;
    if (partial > 0) most = std::clamp(kMostPartialBytes / partial, std::min(kLeastChunks, most), most);
    plan.tiles_per_sample = tiles(plan.tile);
    const int64_t all = shape_.B * plan.tiles_per_sample;
    plan.tiles_per_sequence = shape_.memories() > 0 ? all / shape_.memories() : 0;
    plan.chunks_per_sequence = std::clamp<int64_t>(most / sequences, 1, std::max<int64_t>(plan.tiles_per_sequence, 1));
    plan.chunks = all > 0 ? shape_.memories() * plan.chunks_per_sequence : 0;
    plan.losses_at = round_up(plan.chunks * partial, 256);
    plan.items_at = round_up(plan.losses_at + all * 2 * int64_t{sizeof(double)}, 256);
    const int64_t tables = plan.items.shared ? 0 : shape_.memories() * plan.item_blocks;
    plan.chunks_at = round_up(plan.items_at + tables * plan.items_stride * computing_, 256);
    plan.scratch_bytes = plan.chunks_at + plan.chunks * plan.scratch_per_chunk;
  }

  static constexpr int64_t kRestOfPitches = 8;  // two kinds of sums, each rounded up to an odd number

  const Shape shape_;
  const Needs needs_;
  const int64_t storage_, computing_;  // bytes of an element
  const bool channels_last_;
  Device device_;
};

}  // namespace mnad::cuda
