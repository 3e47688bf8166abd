"""The stream of a torch that has none: an error that says what to do, where no GPU can be had to find out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
PROGRAM = """
#include <cstdio>

#include "ops/stream.h"

#ifdef STATUS
extern "C" AOTITorchError aoti_torch_get_current_cuda_stream(int32_t device, void** stream) {
  *stream = reinterpret_cast<void*>(size_t(40 + device));
  return STATUS;
}
#endif

int main() try {
  std::printf("%zu", reinterpret_cast<size_t>(mnad::ops::current_stream(2)));
} catch (const std::runtime_error& error) {
  std::printf("%s", error.what());
}
"""


@pytest.mark.compiler
@pytest.mark.parametrize(
    ("definition", "said"),
    [
        (
            "",
            "the torch that is loaded was built without CUDA. Install a torch with CUDA and build mnad-ext against it",
        ),
        ("-DSTATUS=AOTI_TORCH_SUCCESS", "42"),
        ("-DSTATUS=AOTI_TORCH_FAILURE", "torch has no current CUDA stream for device 2"),
    ],
    ids=["no CUDA", "a stream", "a failure"],
)
def test_current_stream(definition: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "program.cpp").write_text(PROGRAM)
    include = Path(torch.__file__).parent / "include"
    command = ["g++", "-std=c++20", f"-I{ROOT / 'csrc'}", f"-isystem{include}", str(tmp_path / "program.cpp")]
    command += [definition] if definition else []
    subprocess.run([*command, "-o", str(tmp_path / "program")], check=True)
    output = subprocess.run([str(tmp_path / "program")], capture_output=True, text=True, check=True).stdout
    assert output.endswith(said)
