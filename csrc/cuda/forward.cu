// The forward pass: read, top two, losses and update statistics from one read of the features.
//
// What it cannot do without, in float32 at C = 512, P = 1024, M = 10, for a read (features in; output, weights out):
//   B =  1:    6.3 MB,    21 MFLOP of multiply-adds with the items,    2 MFLOP for norms and unit queries
//   B =  4:   25.3 MB,    84 MFLOP                                     8 MFLOP
//   B = 64:  405.3 MB,  1342 MFLOP                                   134 MFLOP
// 3.6 FLOP a byte: memory is the limit on every GPU, if the tile and the items stay in shared memory.
//
// The threads of a block synchronise four times a tile for a read: after the tile is loaded, after the partial
// products, after the weights, and when nobody needs the tile any more. Losses and statistics need the ranks of all
// positions and come between, with two more barriers. More items than a block of them need two for each further block.
//
// fma() stands where the compiler could choose what to fuse: every kind of kernel gives the same bits.
#include "cuda/chunk.cuh"
#include "cuda/launchers.h"

namespace mnad::cuda {
namespace {

// The two best of some items; the lower item wins a tie.
template <class A>
struct Best {
  A scores[2] = {-A(INFINITY), -A(INFINITY)};
  int items[2] = {INT_MAX, INT_MAX};

  __device__ void offer(A score, int item) {
    if (score > scores[0] || (score == scores[0] && item < items[0])) {
      scores[1] = scores[0], items[1] = items[0];
      scores[0] = score, items[0] = item;
    } else if (score > scores[1] || (score == scores[1] && item < items[1])) {
      scores[1] = score, items[1] = item;
    }
  }

  // Of all lanes' items.
  __device__ void join_lanes() {
#pragma unroll
    for (int distance = kLanes / 2; distance > 0; distance /= 2) {
      Best other = *this;
      swap_lanes<kLanes>(other.scores, distance);
      swap_lanes<kLanes>(other.items, distance);
      offer(other.scores[0], other.items[0]);
      offer(other.scores[1], other.items[1]);
    }
  }
};

template <class K>
class ForwardChunk : Chunk<K> {
  using Base = Chunk<K>;
  using A = typename K::A;
  using T = typename K::T;
  using Base::at_, Base::b_, Base::begin_, Base::end_, Base::blocks, Base::C_, Base::channels, Base::items_,
      Base::losses_, Base::M_, Base::n_;
  using Base::numbers_, Base::P_, Base::position_, Base::sums_, Base::tile_, Base::tile_of;
  using ScoreSums = PartialSums<K, kScoreSums>;
  using PairSums = PartialSums<K, kPairSums>;

 public:
  __device__ ForwardChunk(const Forward& pass, const Plan& plan, char* scratch, char* shared)
      : Base(pass.shape, pass.items, pass.wants_statistics(), plan, scratch, shared), pass_(pass) {}

  __device__ void run() {
    Base::for_each_tile([&] { run_tile(); });
    Base::write_sums();
  }

 private:
  __device__ Tile<K> queries() const { return Base::tile(K::kTwice ? (tile_ - begin_) % 2 : 0); }
  __device__ Table<A> table() const { return Base::table(0); }
  __device__ A* partial_sums() const { return Base::template array<A>(Base::plan_.partial_sums); }

  __device__ void run_tile() {
    if constexpr (K::kTwice) {
      take_copied();
    } else {
      load_tile<K>(features(), queries(), channels());
      __syncthreads();
    }
    Base::multiply(queries(), partial_sums(), [](A& product, A found) { product = found; });
    const bool has_position = lane_.position < K::kTile;
    const A peak = has_position ? rank() : A(0);
    if (pass_.wants_losses() || pass_.wants_statistics()) {
      __syncthreads();
      if (pass_.wants_statistics()) add_numbers();
      if (pass_.wants_losses()) put_differences();
      __syncthreads();
      if (pass_.wants_losses() && has_position) measure_losses();
    }
    if (has_position && (pass_.output || pass_.weights)) softmax(peak);
    __syncthreads();
    if (pass_.wants_losses()) write_losses();
    if (pass_.weights) write_weights();
    if (pass_.output) write_output();
    if (pass_.wants_statistics()) add_queries();
  }

  __device__ TileMap<K, const T> features() const {
    return tile_of(static_cast<const T*>(pass_.features), pass_.features_strides);
  }

  // Waits for the tile, whose copies began while the one before was worked on, and begins those of the next.
  __device__ void take_copied() {
    const int tile = tile_;
    if (tile == begin_) copy_tile<K>(features(), queries(), channels());
    wait_for_copies();
    __syncthreads();
    if (tile + 1 == end_) return;
    Base::go_to(tile + 1);
    copy_tile<K>(features(), queries(), channels());
    Base::go_to(tile);
  }

  // Makes scores of the products, finds the best two and returns the best score.
  __device__ A rank() {
    const int t = lane_.position;
    const A square = ScoreSums(partial_sums()).total(kItemBlock, t), inverse = inverse_norm(square);
    const bool finite = square - square == 0 || is_finite(t);
    Best<A> best;
    lane_.for_each_item(blocks(), [&](int m) {
      A& score = table().at(m, t);
      // The sum of squares of a finite query may overflow: its unit vector is 0 then, and so are its scores.
      score = !finite ? A(NAN) : inverse == 0 ? A(0) : score * inverse;
      if (m < M_) best.offer(score, m);
    });
    best.join_lanes();
    const bool ranked = best.items[0] < M_, both = best.items[1] < M_;  // not so where scores are NaN
    const A peak = ranked ? best.scores[0] : A(NAN);
    if (lane_.number != 0) return peak;
    at_.inverse[t] = inverse;
    at_.first[t] = ranked ? best.items[0] : 0;
    at_.second[t] = both ? best.items[1] : M_ > 1 ? 1 : 0;
    at_.assigned[t] = {finite && t < n_ ? at_.first[t] : -1, exp(peak) * inverse};
    if (pass_.indices && t < n_) write_assignment(t, peak, both ? best.scores[1] : A(NAN));
    return peak;
  }

  // Looks at every channel of a position: its lanes do so together.
  __device__ bool is_finite(int t) const {
    int others[1] = {0};
    for (int c = lane_.number; c < channels(); c += kLanes)
      others[0] += widen(queries().data[queries().offset_of(c, t)]) * 0 != 0;
    add_lanes<false>(others);
    return others[0] == 0;
  }

  __device__ void write_assignment(int t, A best, A second) const {
    const int64_t to = int64_t{b_} * 2 * P_ + position_ + t;
    pass_.indices[to] = at_.first[t], pass_.indices[to + P_] = at_.second[t];
    if (!pass_.scores) return;
    A* scores = static_cast<A*>(pass_.scores) + to;
    scores[0] = best, scores[P_] = second;
  }

  // The part of the statistics that needs scores: as many lanes as the tile has positions have an item.
  __device__ void add_numbers() const {
    const int t = threadIdx.x % K::kTile;
    const int item = at_.assigned[t].item;
    for (int first = 0; first < M_; first += kThreads / K::kTile) {
      const int m = first + int(threadIdx.x) / K::kTile;
      const A score = m < M_ && item >= 0 ? table().at(m, t) : -A(INFINITY);
      const bool nearest = m < M_ && item == m;
      A sums[2] = {exp(score), nearest ? A(1) : A(0)}, peaks[2] = {score, nearest ? score : -A(INFINITY)};
      combine_lanes<K::kTile>(sums, Add{});
      combine_lanes<K::kTile>(peaks, Larger{});
      if (t != 0 || m >= M_) continue;
      numbers_.total[m] += sums[0];
      numbers_.counts[m] += int64_t(sums[1]);
      numbers_.peak_all[m] = Larger{}(peaks[0], numbers_.peak_all[m]);
      numbers_.peak_assigned[m] = Larger{}(peaks[1], numbers_.peak_assigned[m]);
    }
  }

  // |q - p|^2 and the sum of q - p over the channels, for the nearest and the second nearest item.
  __device__ void put_differences() const {
    const ThreadCoordinates<K> thread;
    const A *first[K::kRows], *second[K::kRows];
    A inverse[K::kRows], sums[kPairSums][K::kRows] = {};
#pragma unroll
    for (int r = 0; r < K::kRows; ++r) {
      const int t = thread.position(r);
      first[r] = &items_.at(at_.first[t], 0), second[r] = &items_.at(at_.second[t], 0), inverse[r] = at_.inverse[t];
    }
    thread.for_each_channel(channels(), [&](int step, int row) {
      A x[K::kChannelsAtOnce][K::kRows];
      thread.load(queries(), step, x);
#pragma unroll
      for (int i = 0; i < K::kChannelsAtOnce; ++i)
#pragma unroll
        for (int r = 0; r < K::kRows; ++r) {
          const A near = fma(x[i][r], inverse[r], -first[r][row + i * kRowPitch]);
          const A far = fma(x[i][r], inverse[r], -second[r][row + i * kRowPitch]);
          sums[0][r] += near * near, sums[1][r] += near;
          sums[2][r] += far * far, sums[3][r] += far;
        }
    });
    PairSums(partial_sums()).put(sums);
  }

  // |q - p + eps| of the nearest item in even lanes and of the second nearest in odd ones, written out as eps must not
  // count for padding; and the position's part of the losses.
  __device__ void measure_losses() const {
    const int t = lane_.position, which = lane_.number % 2;
    const PairSums partial(partial_sums());
    const A eps = A(kDistanceEps), square = partial.total(2 * which, t), sum = partial.total(2 * which + 1, t);
    const A shifted = fma(eps, fma(A(2), sum, eps * A(C_)), square);
    const A distance = sqrt(shifted > 0 || shifted != shifted ? shifted : A(0));
    if (lane_.number < 2 && t < n_)
      static_cast<A*>(pass_.distances)[(int64_t{b_} * 2 + which) * P_ + position_ + t] = distance;
    A other[1] = {distance};
    swap_lanes<kLanes>(other, 1);
    if (lane_.number != 0) return;
    const A margin = distance - other[0] + A(kMargin);
    at_.loss[0][t] = t < n_ ? square : 0;
    at_.loss[1][t] = t < n_ && !(margin < 0) ? margin : 0;
  }

  __device__ void write_losses() const {
    const int t = threadIdx.x;
    if (t >= 32) return;
    double sums[2] = {t < K::kTile ? at_.loss[0][t] : 0, t < K::kTile ? at_.loss[1][t] : 0};
    combine_lanes<32>(sums, Add{});
    if (t == 0) losses_[2 * int64_t{tile_}] = sums[0], losses_[2 * int64_t{tile_} + 1] = sums[1];
  }

  // The softmax over the items.
  __device__ void softmax(A peak) const {
    const int t = lane_.position;
    A total[1] = {};
    lane_.for_each_item(blocks(), [&](int m) {
      A& score = table().at(m, t);
      score = m < M_ ? exp(score - peak) : A(0);
      total[0] += score;
    });
    add_lanes(total);
    lane_.for_each_item(blocks(), [&](int m) { table().at(m, t) /= total[0]; });
  }

  __device__ void write_weights() const {
    constexpr int kWide = K::kFast ? 16 / int(sizeof(A)) : 1, kPacks = K::kTile / kWide;
    A* weights = static_cast<A*>(pass_.weights) + int64_t{b_} * M_ * P_ + position_;
    for (int i = threadIdx.x; i < M_ * kPacks; i += kThreads) {
      const int m = i / kPacks, t = i % kPacks * kWide;
      if (t >= n_) continue;
      A values[kWide];
#pragma unroll
      for (int v = 0; v < kWide; ++v) values[v] = table().at(m, t + v);
      if constexpr (K::kFast) {
        uint4 word;
        __builtin_memcpy(&word, values, sizeof word);
        store_streaming(weights + m * P_ + t, word);
      } else {
        weights[m * P_ + t] = values[0];
      }
    }
  }

  __device__ void write_output() const {
    T* output = static_cast<T*>(pass_.output);
    RowWriter<K> units_writer(tile_of(output, pass_.output_strides));
    RowWriter<K> readouts_writer(tile_of(output, pass_.output_strides, C_));
    A inverse[K::kAlong];
    const auto begin = [&](int across, int along, int distance) {
      units_writer.begin(across, along, distance), readouts_writer.begin(across, along, distance);
      hold_positions<K>(at_.inverse, along, inverse);
    };
    const auto write = [&](int across, int offset, const A(&sums)[K::kAcross][K::kAlong]) {
      A units[K::kAcross][K::kAlong];
#pragma unroll
      for (int i = 0; i < K::kAcross; ++i) {
        load_widened(queries().data + queries().row_of(offset, i), units[i]);
        read_position<K>(at_.inverse, across + i, inverse);
#pragma unroll
        for (int v = 0; v < K::kAlong; ++v) units[i][v] *= inverse[v];
      }
      units_writer.write(units), readouts_writer.write(sums);
    };
    weighted_sums<K>(table().as_const(), items_, blocks(), channels(), queries(), begin, write);
  }

  // Adds the queries to the sums of their items; channels c and c + kThreads are their thread's own. Neighbours with
  // the same item make up a run; what belongs to no item is dropped.
  __device__ void add_queries() const {
    constexpr int kAtOnce = K::kChannelsLast ? 1 : std::min(4, K::kPack);
    for (int c = threadIdx.x; c < channels(); c += 2 * kThreads) {
      const int other = c + kThreads < channels() ? c + kThreads : c;
      int item = -1;
      A run[2] = {};
      const auto close = [&] {
        A* const to = sums_ + int64_t{item} * channels();
        if (item >= 0) to[c] += run[0];
        if (item >= 0 && other != c) to[other] += run[1];
        run[0] = run[1] = 0;
      };
#pragma unroll 2
      for (int t = 0; t < K::kTile; t += kAtOnce) {
        A x[2][kAtOnce];
        load_widened(queries().data + queries().offset_of(c, t), x[0]);
        load_widened(queries().data + queries().offset_of(other, t), x[1]);
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
          const Assigned<A> next = at_.assigned[t + i];
          if (next.item != item) close(), item = next.item;
          run[0] += next.factor * x[0][i], run[1] += next.factor * x[1][i];
        }
      }
      close();
    }
  }

  const Forward& pass_;
  const Lane lane_;
};

template <class K>
__global__ void __launch_bounds__(kThreads, kBlocks) forward_kernel(Forward pass, Plan plan, char* scratch) {
  DYN_SHARED(shared);
  ForwardChunk<K>(pass, plan, scratch, shared).run();
}

}  // namespace

cudaError_t run(const Forward& pass, const Plan& plan, void* scratch, cudaStream_t stream) {
  return dispatch<true>(pass.dtype, plan, [&](auto kind) {
    using K = decltype(kind);
    const Sums<typename K::A> sums{
        pass.shape, plan, static_cast<char*>(scratch), pass.statistics, pass.compactness, pass.separateness};
    return run_chunks(forward_kernel<K>, pass, sums, stream);
  });
}

}  // namespace mnad::cuda
