// A thread's scratch memory, handed out piece by piece, each aligned to a cache line.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

#ifndef MNAD_ISA
#error "compile with -DMNAD_ISA=<name of the instruction set>"
#endif

namespace mnad::cpu::MNAD_ISA {

class Arena {
 public:
  // Counts: its pieces are null, and bytes() tells how much memory the same calls of take() need.
  Arena() = default;

  // `memory` is aligned to a cache line.
  explicit Arena(std::span<std::byte> memory) : memory_(memory), counts_(false) {}

  template <class E>
  E* take(int64_t elements) {
    const size_t begin = bytes_;
    bytes_ += (size_t(elements) * sizeof(E) + kLine - 1) / kLine * kLine;
    if (counts_) return nullptr;
    assert(bytes_ <= memory_.size() && "the arena is exhausted");
    return reinterpret_cast<E*>(memory_.data() + begin);
  }

  // How much has been taken.
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kLine = 64;

  std::span<std::byte> memory_;
  size_t bytes_ = 0;
  bool counts_ = true;
};

}  // namespace mnad::cpu::MNAD_ISA
