// Registers an operator's kernel for every device that this build serves.
#pragma once

#include <torch/csrc/stable/library.h>

#ifdef MNAD_WITH_CUDA
#define MNAD_REGISTER(name, function)                                                         \
  STABLE_TORCH_LIBRARY_IMPL(mnad, CPU, library) { library.impl(name, TORCH_BOX(&function)); } \
  STABLE_TORCH_LIBRARY_IMPL(mnad, CUDA, library) { library.impl(name, TORCH_BOX(&function)); }
#else
#define MNAD_REGISTER(name, function) \
  STABLE_TORCH_LIBRARY_IMPL(mnad, CPU, library) { library.impl(name, TORCH_BOX(&function)); }
#endif
