// A function that runs on a stack of its own and can be left and resumed.
#pragma once

#include <cstddef>

namespace cuda_emulator {

// Stops with a message on stderr: the kernel did what no kernel may do.
[[noreturn]] void stop(const char* format, ...) __attribute__((format(printf, 1, 2)));

class Fiber {
 public:
  // Begins anew with `body`; a fiber that is given up in the middle is forgotten.
  void start(void (*body)());
  // Runs it until it calls leave() or its body returns.
  void resume();
  // Called by the body: back to who resumed it.
  void leave();
  bool ended() const { return ended_; }

  // What ThreadSanitizer is told of the order between fibers: everything before a release by one comes before what
  // another does after it has acquired the same tag.
  static void release(void* tag);
  static void acquire(void* tag);

  Fiber() = default;
  Fiber(Fiber&& other) = delete;
  ~Fiber();

 private:
  static void enter();
  void allocate();

  char* stack_ = nullptr;
  void* stack_pointer_ = nullptr;
  void (*body_)() = nullptr;
  void* address_sanitizer_ = nullptr;
  void* thread_sanitizer_ = nullptr;
  bool ended_ = false;
};

}  // namespace cuda_emulator
