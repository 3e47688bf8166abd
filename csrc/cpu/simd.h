// Vectors of the instruction set that this file is compiled for, on the compiler's vector extension.
//
// Everything here lives in a namespace named after the instruction set: the same source is compiled once per
// set, and no inline function of one may be linked into another.
#pragma once

#include <cassert>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cpu/tuning.h"

#ifndef MNAD_ISA
#error "compile with -DMNAD_ISA=<name of the instruction set>"
#endif

namespace mnad::cpu::MNAD_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

using Tuned = Tuning<kVectorBytes>;

struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

template <class A>
struct Simd;
template <>
struct Simd<float> {
  typedef float Vector __attribute__((vector_size(kVectorBytes)));
  typedef int32_t Index;
  typedef int32_t Integer __attribute__((vector_size(kVectorBytes)));
  typedef uint16_t Half __attribute__((vector_size(kVectorBytes / 2)));
};
template <>
struct Simd<double> {
  typedef double Vector __attribute__((vector_size(kVectorBytes)));
  typedef int64_t Index;
  typedef int64_t Integer __attribute__((vector_size(kVectorBytes)));
};

template <class A>
using Vector = typename Simd<A>::Vector;
template <class A>
using Integer = typename Simd<A>::Integer;
template <class A>
constexpr int kWidth = kVectorBytes / sizeof(A);

template <class A>
constexpr int64_t padded(int64_t n) {
  return (n + kWidth<A> - 1) / kWidth<A> * kWidth<A>;
}

template <class To, class From>
inline To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

template <class A>
inline Vector<A> broadcast(A value) {
  return value - Vector<A>{};
}

// The sum of all lanes, by halves.
template <class A, int Distance = kWidth<A> / 2>
inline A sum(Vector<A> v) {
  Integer<A> other{};
  for (int i = 0; i < kWidth<A>; ++i) other[i] = i ^ Distance;
  v += __builtin_shuffle(v, other);
  if constexpr (Distance > 1) return sum<A, Distance / 2>(v);
  return v[0];
}

// ---- loads and stores that convert between the storage type T and the computing type A ----

inline float widen(bf16 x) { return bit_cast<float>(uint32_t(x.bits) << 16); }

inline bf16 narrow_bf16(float x) {
  if (x != x) return {0x7fc0};
  const uint32_t bits = bit_cast<uint32_t>(x);
  return {uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};  // round to nearest, ties to even
}

inline float widen(f16 x) {
  const uint32_t sign = uint32_t(x.bits & 0x8000) << 16, magnitude = x.bits & 0x7fff;
  if (magnitude >= 0x7c00) return bit_cast<float>(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  // Multiplying by 2^112 moves the exponent's bias and normalises subnormal numbers on the way.
  return bit_cast<float>(sign | bit_cast<uint32_t>(bit_cast<float>(magnitude << 13) * 0x1p112f));
}

inline f16 narrow_f16(float x) {
  const uint32_t bits = bit_cast<uint32_t>(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return {0x7e00};
  if (magnitude >= 0x477ff000) return {uint16_t(sign | 0x7c00)};
  if (magnitude < 0x38800000) {  // subnormal: adding 0.5 leaves the rounded bits at the end of the mantissa
    const float shifted = bit_cast<float>(magnitude) + 0.5f;
    return {uint16_t(sign | (bit_cast<uint32_t>(shifted) - 0x3f000000))};
  }
  const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1) - (112u << 23);
  return {uint16_t(sign | rounded >> 13)};
}

inline Vector<float> load(const float* from) {
  Vector<float> v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

inline Vector<double> load(const double* from) {
  Vector<double> v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

inline Vector<float> load(const bf16* from) {
  Simd<float>::Half half;
  std::memcpy(&half, from, sizeof half);
  return bit_cast<Vector<float>>(__builtin_convertvector(half, Integer<float>) << 16);
}

inline Vector<float> load(const f16* from) {
#if defined(__AVX512F__)
  return bit_cast<Vector<float>>(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
#elif defined(__F16C__)
  return bit_cast<Vector<float>>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#else
  Vector<float> v;
  for (int i = 0; i < kWidth<float>; ++i) v[i] = widen(from[i]);
  return v;
#endif
}

inline void store(float* to, Vector<float> v) { std::memcpy(to, &v, sizeof v); }
inline void store(double* to, Vector<double> v) { std::memcpy(to, &v, sizeof v); }

inline void store(bf16* to, Vector<float> v) {
  const auto bits = bit_cast<Integer<float>>(v);
  auto rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  rounded = v != v ? rounded * 0 + 0x7fc0 : rounded;
  const auto half = __builtin_convertvector(rounded, Simd<float>::Half);
  std::memcpy(to, &half, sizeof half);
}

inline void store(f16* to, Vector<float> v) {
#if defined(__AVX512F__)
  const auto half = _mm512_cvtps_ph(bit_cast<__m512>(v), _MM_FROUND_TO_NEAREST_INT);
  std::memcpy(to, &half, sizeof half);
#elif defined(__F16C__)
  const auto half = _mm256_cvtps_ph(bit_cast<__m256>(v), _MM_FROUND_TO_NEAREST_INT);
  std::memcpy(to, &half, sizeof half);
#else
  for (int i = 0; i < kWidth<float>; ++i) to[i] = narrow_f16(v[i]);
#endif
}

// Stores past the caches; `to` is aligned to the size of what is written.
template <class T, class V>
inline void stream(T* to, V v) {
  assert(reinterpret_cast<uintptr_t>(to) % (sizeof v / sizeof v[0] * sizeof(T)) == 0);
#if defined(__x86_64__)
  struct alignas(8) {
    T elements[sizeof v / sizeof v[0]];
  } stored;
  store(stored.elements, v);
  constexpr size_t kBytes = sizeof stored;
#if defined(__AVX512F__)
  if constexpr (kBytes == 64) return _mm512_stream_si512(reinterpret_cast<__m512i*>(to), bit_cast<__m512i>(stored));
#endif
#if defined(__AVX2__)
  if constexpr (kBytes == 32) return _mm256_stream_si256(reinterpret_cast<__m256i*>(to), bit_cast<__m256i>(stored));
#endif
  if constexpr (kBytes == 16) return _mm_stream_si128(reinterpret_cast<__m128i*>(to), bit_cast<__m128i>(stored));
  if constexpr (kBytes == 8) return _mm_stream_si64(reinterpret_cast<long long*>(to), bit_cast<long long>(stored));
#endif
  store(to, v);
}

// Orders streamed stores before what follows.
inline void end_stream() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

inline float load_one(const float* from) { return *from; }
inline double load_one(const double* from) { return *from; }
inline float load_one(const bf16* from) { return widen(*from); }
inline float load_one(const f16* from) { return widen(*from); }
inline void store_one(float* to, float x) { *to = x; }
inline void store_one(double* to, double x) { *to = x; }
inline void store_one(bf16* to, float x) { *to = narrow_bf16(x); }
inline void store_one(f16* to, float x) { *to = narrow_f16(x); }

// An optimisation barrier: v is in a register from here on. The compiler can neither load it again for each use, nor,
// where v is a product, fuse it with a later addition into an FMA.
template <class V>
inline void to_register(V& v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__x86_64__)
  asm("" : "+x"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
}

// ---- transposition of a square block held in registers ----

// Swaps, inside every pair of rows that are `Distance` apart, the two off-diagonal blocks of that size.
template <class A, int Distance>
inline void swap_blocks(Vector<A> (&rows)[kWidth<A>]) {
  Integer<A> low{}, high{};
  for (int j = 0; j < kWidth<A>; ++j) {
    low[j] = j & Distance ? kWidth<A> + j - Distance : j;
    high[j] = j & Distance ? kWidth<A> + j : j + Distance;
  }
  for (int i = 0; i < kWidth<A>; ++i) {
    if (i & Distance) continue;
    const Vector<A> a = rows[i], b = rows[i + Distance];
    rows[i] = __builtin_shuffle(a, b, low);
    rows[i + Distance] = __builtin_shuffle(a, b, high);
  }
}

template <class A, int Distance = kWidth<A> / 2>
inline void transpose(Vector<A> (&rows)[kWidth<A>]) {
  swap_blocks<A, Distance>(rows);
  if constexpr (Distance > 1) transpose<A, Distance / 2>(rows);
}

// Loads rows[j][i] = from[i * stride + j].
template <class A>
inline void load_transposed(const A* from, int64_t stride, Vector<A> (&rows)[kWidth<A>]) {
  constexpr int W = kWidth<A>;
#if defined(__AVX512F__)
  // Loads of halves need fewer permutations of lanes than the swap of the largest blocks.
  const auto half = [](const A* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); };
  for (int i = 0; i < W; ++i) {
    const A* low = from + i % (W / 2) * stride + i / (W / 2) * (W / 2);
    const auto both = _mm512_inserti64x4(_mm512_castsi256_si512(half(low)), half(low + W / 2 * stride), 1);
    rows[i] = bit_cast<Vector<A>>(both);
  }
  transpose<A, W / 4>(rows);
#else
  for (int i = 0; i < W; ++i) rows[i] = load(from + i * stride);
  transpose<A>(rows);
#endif
}

// ---- exp, within 2 ulp; NaN stays NaN, what would overflow or underflow stays finite and positive ----

inline Vector<float> exp(Vector<float> x) {
  using V = Vector<float>;
  x = x < -87.0f ? x * 0 - 87.0f : x;
  x = x > 88.0f ? x * 0 + 88.0f : x;
  const float shift = 0x1.8p23f;  // adding it rounds to an integer
  const V n = (x * 1.44269504088896341f + shift) - shift;
  const V r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  V y = r * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  const auto exponent = (bit_cast<Integer<float>>(n + (shift + 127.0f)) & 0x1ff) << 23;
  return y * bit_cast<V>(exponent);
}

inline Vector<double> exp(Vector<double> x) {
  using V = Vector<double>;
  x = x < -708.0 ? x * 0 - 708.0 : x;
  x = x > 709.0 ? x * 0 + 709.0 : x;
  const double shift = 0x1.8p52;
  const V n = (x * 1.4426950408889634074 + shift) - shift;
  const V r = (x - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6;
  const V square = r * r;
  V p = square * 1.26177193074810590878e-4 + 3.02994407707441961300e-2;
  p = (p * square + 9.99999999999999999910e-1) * r;
  V q = square * 3.00198505138664455042e-6 + 2.52448340349684104192e-3;
  q = q * square + 2.27265548208155028766e-1;
  q = q * square + 2.00000000000000000009;
  const V y = 1.0 + 2.0 * (p / (q - p));
  const auto exponent = (bit_cast<Integer<double>>(n + (shift + 1023.0)) & 0xfff) << 52;
  return y * bit_cast<V>(exponent);
}

}  // namespace mnad::cpu::MNAD_ISA
