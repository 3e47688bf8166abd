// The backward pass: the features and each incoming gradient are read once.
//
// What it cannot do without, in float32 at C = 512, P = 1024, M = 10, with the gradients of the queries' half of the
// output and of the losses (features, gradient and indices in, gradient out):
//   B =  1:    6.3 MB,   10 MFLOP
//   B =  4:   25.2 MB,   42 MFLOP
//   B = 64:  403.7 MB,  671 MFLOP
// With the gradient through the weights or to the items, the readout's half comes in as well: a third more.
//
// All that comes from the losses and from the scores is a sum of x and of the items, whose factors depend on the
// position alone:  grad_x = inverse (g + alpha x + sum over m of k_m p_m + shift).
// The part along x that alpha takes away follows from sums over the channels and from the scores. So the threads of a
// block synchronise four times a tile: after the tile is loaded, after the partial sums, after the factors, and at the
// end; more often for gradients of scores and items.
//
// rounded_product() stands where the compiler could fuse a product with a sum: so every kind of kernel gives the same
// bits, and where a query is its item, what the losses add cancels as it does without fusing.
#include "cuda/chunk.cuh"
#include "cuda/launchers.h"

namespace mnad::cuda {
namespace {

template <class K>
class BackwardChunk : Chunk<K> {
  using Base = Chunk<K>;
  using A = typename K::A;
  using T = typename K::T;
  using Base::at_, Base::b_, Base::blocks, Base::C_, Base::channels, Base::items_, Base::M_, Base::n_, Base::P_;
  using Base::position_, Base::sums_, Base::tile_of;
  using ScoreSums = PartialSums<K, kScoreSums>;
  using PairSums = PartialSums<K, kPairSums>;

 public:
  __device__ BackwardChunk(const Backward& pass, const Plan& plan, char* scratch, char* shared)
      : Base(pass.shape, pass.items, pass.grad_items != nullptr, plan, scratch, shared), pass_(pass) {}

  __device__ void run() {
    Base::for_each_tile([&] { run_tile(); });
    Base::write_sums();
  }

 private:
  __device__ Tile<K> queries() const { return Base::tile(0); }
  // The gradients of the output's halves.
  __device__ Tile<K> gradient() const { return Base::tile(1); }
  __device__ Tile<K> grad_readout() const { return Base::tile(2); }
  __device__ Table<A> table() const { return Base::table(0); }
  __device__ Table<A> weights() const { return Base::table(1); }
  __device__ PairSums pair_sums() const { return PairSums(Base::template array<A>(Base::plan_.partial_sums)); }
  // Whether the readout's gradient reaches the weights, any gradient the scores, and any the items: never in the
  // largest tiles of the fast kind, whose registers are needed otherwise.
  static constexpr bool kSmall = !K::kFast || K::kTile <= kLargestWithItems;
  __device__ bool through() const { return kSmall && pass_.grad_through_weights && pass_.grad_output; }
  __device__ bool has_scores() const { return kSmall && pass_.wants_score_gradient(); }
  __device__ bool has_items() const { return kSmall && pass_.grad_items; }

  __device__ void run_tile() {
    load();
    __syncthreads();
    put_sums();
    if (through()) Base::multiply(grad_readout(), pair_sums().end(), [](A& grad, A found) { grad += found; });
    __syncthreads();
    const bool has_position = lane_.position < K::kTile;
    if (has_position && has_scores()) differentiate_softmax();
    Factors factors;
    if (has_position) factors = find_factors();
    if (has_items()) {
      __syncthreads();
      add_to_items();
      __syncthreads();
    }
    if (!pass_.grad_features) return;
    if (has_position) write_factors(factors);
    __syncthreads();
    write_features();
  }

  __device__ void load() const {
    load_tile<K>(tile_of(static_cast<const T*>(pass_.features), pass_.features_strides), queries(), channels());
    const T* grad = static_cast<const T*>(pass_.grad_output);
    const Strides strides = pass_.grad_output_strides;
    if (grad) {
      load_tile<K>(tile_of(grad, strides), gradient(), channels());
      if (kSmall && pass_.reads_grad_readout()) load_tile<K>(tile_of(grad, strides, C_), grad_readout(), channels());
    } else {
      clear_tile(gradient(), channels());
    }
    if (kSmall && pass_.reads_weights()) load_numbers(static_cast<const A*>(pass_.weights), weights());
    if (has_scores()) load_numbers(static_cast<const A*>(pass_.grad_weights), table());
  }

  // The tile's part of (B, M, P) numbers, 0 outside the map and where there are none.
  __device__ void load_numbers(const A* from, const Table<A>& to) const {
    constexpr int kWide = K::kFast ? 16 / int(sizeof(A)) : 1, kPacks = K::kTile / kWide;
    for (int i = threadIdx.x; i < M_ * kPacks; i += kThreads) {
      const int m = i / kPacks, t = i % kPacks * kWide;
      A values[kWide] = {};
      if (from && t < n_) load_values(from + (int64_t{b_} * M_ + m) * P_ + position_ + t, values);
#pragma unroll
      for (int v = 0; v < kWide; ++v) to.at(m, t + v) = values[v];
    }
  }

  // |x|^2, the sum of x, and x . g
  __device__ void put_sums() const {
    const ThreadCoordinates<K> thread;
    A sums[kPairSums][K::kRows] = {};
    thread.for_each_channel(channels(), [&](int step, int) {
      A x[K::kChannelsAtOnce][K::kRows], g[K::kChannelsAtOnce][K::kRows];
      thread.load(queries(), step, x);
      thread.load(gradient(), step, g);
#pragma unroll
      for (int i = 0; i < K::kChannelsAtOnce; ++i)
#pragma unroll
        for (int r = 0; r < K::kRows; ++r) {
          sums[0][r] += x[i][r] * x[i][r];
          sums[1][r] += x[i][r];
          sums[2][r] += x[i][r] * g[i][r];
        }
    });
    pair_sums().put(sums);
  }

  // The gradient of the scores: w (g - sum over the items of w g)
  __device__ void differentiate_softmax() const {
    const int t = lane_.position;
    A mean[1] = {};
    lane_.for_each_item(blocks(), [&](int m) {
      if (m < M_) mean[0] += weights().at(m, t) * table().at(m, t);
    });
    add_lanes(mean);
    lane_.for_each_item(
        blocks(), [&](int m) { table().at(m, t) = m < M_ ? weights().at(m, t) * (table().at(m, t) - mean[0]) : A(0); });
  }

  // What the losses add to the gradient of a position's unit query: factors of its two items, of itself and of a vector
  // of ones.
  struct Factors {
    int first = -1, second = -1;
    A on_first = 0, on_second = 0, on_query = 0, shift = 0;
  };

  // Finds a position's factors, and leaves those of x and of what is the same for all channels.
  __device__ Factors find_factors() const {
    const int t = lane_.position;
    const A square = pair_sums().total(0, t), inverse = inverse_norm(square);
    A dot = pair_sums().total(2, t);
    Factors found;
    if (pass_.indices && t < n_) {
      const int64_t at = int64_t{b_} * 2 * P_ + position_ + t;
      found = differentiate_losses(at);
      const A* scores = static_cast<const A*>(pass_.scores) + at;
      dot += (rounded_product(found.on_first, scores[0]) + rounded_product(found.on_second, scores[P_])) / inverse;
      dot += rounded_product(rounded_product(found.on_query, inverse), square) +
             rounded_product(found.shift, pair_sums().total(1, t));
    }
    if (has_scores()) dot += along_items() / inverse;
    // Below eps, or overflown: no part along q.
    const A of_unit = sqrt(square) < A(kNormEps) || inverse == 0 ? A(0) : dot * inverse;
    if (lane_.number == 0) {
      at_.inverse[t] = inverse;
      at_.factor[0][t] = rounded_product(found.on_query, inverse) - rounded_product(of_unit, inverse);
      at_.factor[1][t] = found.shift;
    }
    return found;
  }

  // pull (q - p_first), near ((q - p_first + eps) / d_first) and far ((q - p_second + eps) / d_second), the last two
  // where the margin is not met.
  __device__ Factors differentiate_losses(int64_t at) const {
    const A* compactness = static_cast<const A*>(pass_.grad_compactness);
    const A* separateness = static_cast<const A*>(pass_.grad_separateness);
    const A* distances = static_cast<const A*>(pass_.distances) + at;
    const A pull = compactness ? compactness[b_] * 2 / (A(C_) * A(P_)) : A(0);
    const A push = separateness ? separateness[b_] / A(P_) : A(0);
    const A d_first = distances[0], d_second = distances[P_];
    const bool met = d_first - d_second + A(kMargin) < 0;
    const A near = met || d_first == 0 ? A(0) : push / d_first, far = met || d_second == 0 ? A(0) : -push / d_second;
    return {int(pass_.indices[at]), int(pass_.indices[at + P_]),   -(pull + near), -far,
            pull + near + far,      (near + far) * A(kDistanceEps)};
  }

  // q . sum over m of grad_score_m p_m. A score is the logarithm of its weight but for a number that is the same for
  // all items, and the gradients of the scores add up to 0.
  __device__ A along_items() const {
    A sum[1] = {};
    lane_.for_each_item(blocks(), [&](int m) {
      if (m >= M_) return;
      const A weight = weights().at(m, lane_.position);
      if (!(weight == 0)) sum[0] += table().at(m, lane_.position) * log(weight);
    });
    add_lanes(sum);
    return sum[0];
  }

  // Channel c is its thread's own.
  __device__ void add_to_items() const {
    for (int block = 0; block < blocks(); ++block)
      for (int c = threadIdx.x; c < channels(); c += kThreads) {
        A sums[kItemBlock] = {};
#pragma unroll 1
        for (int t = 0; t < n_; ++t) {
          A row[kItemBlock];
          if (pass_.grad_output) {
            const A grad = widen(grad_readout().data[grad_readout().offset_of(c, t)]);
            load_row<A>(weights().row(block, t), row);
#pragma unroll
            for (int m = 0; m < kItemBlock; ++m) sums[m] += row[m] * grad;
          }
          if (has_scores()) {
            const A q = widen(queries().data[queries().offset_of(c, t)]) * at_.inverse[t];
            load_row<A>(table().row(block, t), row);
#pragma unroll
            for (int m = 0; m < kItemBlock; ++m) sums[m] += row[m] * q;
          }
        }
#pragma unroll
        for (int m = 0; m < kItemBlock; ++m)
          if (block * kItemBlock + m < M_) sums_[int64_t{block * kItemBlock + m} * channels() + c] += sums[m];
      }
  }

  // Leaves the factors of the items in the table.
  __device__ void write_factors(const Factors& found) const {
    const int t = lane_.position;
    lane_.for_each_item(blocks(), [&](int m) {
      A factor = has_scores() ? table().at(m, t) : A(0);
      if (m == found.first) factor += found.on_first;
      if (m == found.second) factor += found.on_second;
      table().at(m, t) = factor;
    });
  }

  __device__ void write_features() const {
    RowWriter<K> writer(tile_of(static_cast<T*>(pass_.grad_features), pass_.grad_features_strides));
    const int used = has_scores() || pass_.indices ? blocks() : 0;
    A inverse[K::kAlong], alpha[K::kAlong], shift[K::kAlong];
    const auto begin = [&](int across, int along, int distance) {
      writer.begin(across, along, distance);
      hold_positions<K>(at_.inverse, along, inverse);
      hold_positions<K>(at_.factor[0], along, alpha);
      hold_positions<K>(at_.factor[1], along, shift);
    };
    const auto write = [&](int across, int offset, A(&sums)[K::kAcross][K::kAlong]) {
#pragma unroll
      for (int i = 0; i < K::kAcross; ++i) {
        A x[K::kAlong], g[K::kAlong];
        load_widened(queries().data + queries().row_of(offset, i), x);
        load_widened(gradient().data + gradient().row_of(offset, i), g);
        read_position<K>(at_.inverse, across + i, inverse);
        read_position<K>(at_.factor[0], across + i, alpha);
        read_position<K>(at_.factor[1], across + i, shift);
#pragma unroll
        for (int v = 0; v < K::kAlong; ++v)
          sums[i][v] = inverse[v] * (g[v] + (rounded_product(alpha[v], x[v]) + sums[i][v]) + shift[v]);
      }
      writer.write(sums);
    };
    weighted_sums<K>(table().as_const(), items_, used, channels(), queries(), begin, write);
  }

  const Backward& pass_;
  const Lane lane_;
};

template <class K>
__global__ void __launch_bounds__(kThreads, kBlocks) backward_kernel(Backward pass, Plan plan, char* scratch) {
  DYN_SHARED(shared);
  BackwardChunk<K>(pass, plan, scratch, shared).run();
}

}  // namespace

cudaError_t run(const Backward& pass, const Plan& plan, void* scratch, cudaStream_t stream) {
  if (pass.reads_weights() && !pass.weights) return cudaErrorInvalidValue;
  Statistics grad_items{};
  grad_items.weighted_sum = pass.grad_items;
  return dispatch<false>(pass.dtype, plan, [&](auto kind) {
    using K = decltype(kind);
    const Sums<typename K::A> sums{pass.shape, plan, static_cast<char*>(scratch), grad_items, nullptr, nullptr};
    return run_chunks(backward_kernel<K>, pass, sums, stream);
  });
}

}  // namespace mnad::cuda
