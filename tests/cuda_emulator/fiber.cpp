// Stack switching, with the calls that keep the sanitizers informed where they are linked in. Never compiled with
// -fsanitize itself.
#include "fiber.h"

#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#define WEAK __attribute__((weak))
extern "C" {
WEAK void __sanitizer_start_switch_fiber(void** save, const void* bottom, size_t size);
WEAK void __sanitizer_finish_switch_fiber(void* save, const void** bottom, size_t* size);
WEAK void __asan_unpoison_memory_region(const volatile void* address, size_t size);
WEAK void* __tsan_get_current_fiber(void);
WEAK void* __tsan_create_fiber(unsigned flags);
WEAK void __tsan_destroy_fiber(void* fiber);
WEAK void __tsan_switch_to_fiber(void* fiber, unsigned flags);
WEAK void __tsan_acquire(void* address);
WEAK void __tsan_release(void* address);
}

#if !defined(__x86_64__)
#error "the emulator switches stacks on x86-64 only"
#endif

// Saves the registers that a call must keep, and the stack pointer to *from; takes both from the stack `to`.
extern "C" void cuda_emulator_switch(void** from, void* to);
asm(R"(
.text
.globl cuda_emulator_switch
.type cuda_emulator_switch, @function
cuda_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_emulator_switch, .-cuda_emulator_switch
)");

namespace cuda_emulator {
namespace {

constexpr size_t kStack = 256 << 10, kGuard = 4096;
constexpr unsigned kNoOrder = 1;  // ThreadSanitizer: a switch orders nothing by itself

Fiber* running = nullptr;
// Where resume() was called.
void* outer_stack_pointer = nullptr;
void* outer_thread_sanitizer = nullptr;
void* outer_address_sanitizer = nullptr;
const void* outer_bottom = nullptr;
size_t outer_size = 0;

}  // namespace

void stop(const char* format, ...) {
  std::fputs("cuda_emulator: ", stderr);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
  std::abort();
}

void Fiber::release(void* tag) {
  if (__tsan_release) __tsan_release(tag);
}

void Fiber::acquire(void* tag) {
  if (__tsan_acquire) __tsan_acquire(tag);
}

void Fiber::allocate() {
  void* memory =
      mmap(nullptr, kStack + kGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) stop("no memory for the stack of a thread");
  mprotect(memory, kGuard, PROT_NONE);
  stack_ = static_cast<char*>(memory) + kGuard;
}

Fiber::~Fiber() {
  if (thread_sanitizer_) __tsan_destroy_fiber(thread_sanitizer_);
  if (stack_) munmap(stack_ - kGuard, kStack + kGuard);
}

void Fiber::start(void (*body)()) {
  if (!stack_) allocate();
  if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(stack_, kStack);
  if (__tsan_create_fiber && !thread_sanitizer_) thread_sanitizer_ = __tsan_create_fiber(0);
  body_ = body;
  ended_ = false;
  address_sanitizer_ = nullptr;
  void** top = reinterpret_cast<void**>(stack_ + kStack - 64);
  *--top = nullptr;  // keeps the stack aligned as a call would
  *--top = reinterpret_cast<void*>(&Fiber::enter);
  for (int i = 0; i < 6; ++i) *--top = nullptr;  // the saved registers
  stack_pointer_ = top;
}

void Fiber::enter() {
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(nullptr, &outer_bottom, &outer_size);
  running->body_();
  running->ended_ = true;
  running->leave();
  stop("a thread that had ended was resumed");
}

void Fiber::resume() {
  running = this;
  if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&outer_address_sanitizer, stack_, kStack);
  if (__tsan_switch_to_fiber) {
    outer_thread_sanitizer = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(thread_sanitizer_, kNoOrder);
  }
  cuda_emulator_switch(&outer_stack_pointer, stack_pointer_);
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(outer_address_sanitizer, nullptr, nullptr);
  running = nullptr;
}

void Fiber::leave() {
  if (__sanitizer_start_switch_fiber)
    __sanitizer_start_switch_fiber(ended_ ? nullptr : &address_sanitizer_, outer_bottom, outer_size);
  if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(outer_thread_sanitizer, kNoOrder);
  cuda_emulator_switch(&stack_pointer_, outer_stack_pointer);
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(address_sanitizer_, &outer_bottom, &outer_size);
}

}  // namespace cuda_emulator
