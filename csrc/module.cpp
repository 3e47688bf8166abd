// The Python module mnad_ext._C: importing it registers the operators; it tells how it was built.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/headeronly/version.h>

#include "cpu/launchers.h"

namespace py = pybind11;

PYBIND11_MODULE(_C, module) {
  module.doc() = "Operators of mnad_ext, registered under torch.ops.mnad.";
  module.def("build_info", [] {
    py::dict info;
    info["version"] = MNAD_VERSION;
    info["torch"] = TORCH_VERSION;
    info["torch_floor"] = MNAD_TORCH_FLOOR;
    info["compiler"] = __VERSION__;
    info["debug"] = bool(MNAD_DEBUG);
#ifdef MNAD_WITH_CUDA
    info["cuda"] = MNAD_CUDA_VERSION;
    info["cuda_architectures"] = MNAD_CUDA_ARCHITECTURES;
#else
    info["cuda"] = py::none();
    info["cuda_architectures"] = "";
#endif
    info["instruction_sets"] = MNAD_INSTRUCTION_SETS;
    info["instruction_set_in_use"] = mnad::cpu::instruction_set();
    return info;
  });
}
