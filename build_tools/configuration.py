"""What is built, from which tools: read from the environment once, printed before the build.

MNAD_CUDA=auto|0|1       build the CUDA kernels; auto: where nvcc is found and torch itself has CUDA
TORCH_CUDA_ARCH_LIST     architectures, "8.0;9.0+PTX" as torch reads them
MAX_JOBS                 compilers at work at once
MNAD_DEBUG=0|1           assertions and debug information instead of optimisation
CXX, CUDA_HOME           the compilers
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# The oldest torch whose binary interface the extension uses, as TORCH_TARGET_VERSION writes it.
TORCH_FLOOR = "2.11"
TORCH_TARGET_VERSION = "0x020b000000000000"
DEFAULT_ARCHITECTURES = "7.5;8.0;9.0+PTX"


# As pyproject.toml asks for, which pip does not look at with --no-build-isolation.
SETUPTOOLS = 77


def without_isolation() -> str:
    """Returns what a build without isolation needs to be there."""
    return f"Without build isolation install first: pip install 'setuptools>={SETUPTOOLS}' 'pybind11>=2.13' ninja"


class BuildError(SystemExit):
    """Ends the build with a message for the person who started it."""

    def __init__(self, message: str) -> None:
        super().__init__(f"\nmnad-ext cannot be built: {message}\n")


@dataclass(frozen=True)
class Configuration:
    """The resolved configuration of one build."""

    version: str
    torch_version: str
    torch_root: Path
    compiler: str
    nvcc: str | None
    cuda_version: str | None
    architectures: tuple[str, ...]
    debug: bool
    jobs: int

    @property
    def tag(self) -> str:
        """Tells builds apart whose objects must not be mixed."""
        cuda = f"-cuda{self.cuda_version}" if self.nvcc else ""
        return f"{sys.implementation.cache_tag}-torch{self.torch_version}{cuda}{'-debug' if self.debug else ''}"

    def __str__(self) -> str:
        rows = {
            "mnad-ext": f"{self.version}{' (debug)' if self.debug else ''}",
            "torch": f"{self.torch_version} at {self.torch_root}, binary interface of {TORCH_FLOOR}",
            "C++ compiler": self.compiler,
            "CUDA": f"{self.cuda_version} by {self.nvcc}" if self.nvcc else "no (CPU kernels only)",
            "architectures": " ".join(self.architectures) or "-",
            "jobs": str(self.jobs),
        }
        return "\n".join(["building mnad_ext._C", *(f"  {name:14} {value}" for name, value in rows.items())])


def configure(version: str) -> Configuration:
    """Resolves the configuration from the environment, or ends the build saying what is missing."""
    try:
        import torch
    except ImportError as error:
        raise BuildError(
            f"torch cannot be imported ({error}). Install it first: pip install 'torch>={TORCH_FLOOR}'"
        ) from error
    nvcc = find_nvcc(torch_has_cuda=torch.version.cuda is not None)
    return Configuration(
        version=version,
        torch_version=torch.__version__,
        torch_root=Path(torch.__file__).parent,
        compiler=_find_compiler(),
        nvcc=nvcc,
        cuda_version=_cuda_version(nvcc) if nvcc else None,
        architectures=_architectures() if nvcc else (),
        debug=_flag("MNAD_DEBUG"),
        jobs=_jobs(),
    )


def gencode(architectures: tuple[str, ...]) -> list[str]:
    """Returns nvcc's flags for architectures such as ("8.0", "9.0+PTX")."""
    flags = []
    for architecture in architectures:
        number = architecture.removesuffix("+PTX").replace(".", "")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if architecture.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


def _find_compiler() -> str:
    # A launcher and flags may stand beside the compiler, as in "ccache g++".
    name, *others = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    compiler = shutil.which(name) or (None if os.environ.get("CXX") else shutil.which("clang++"))
    if compiler is None:
        raise BuildError(
            f"the C++ compiler {name} was not found. Install one (Debian, Ubuntu: apt-get install g++; "
            "Fedora: dnf install gcc-c++) or name yours in CXX"
        )
    return shlex.join([compiler, *others])


def find_nvcc(*, torch_has_cuda: bool) -> str | None:
    """Finds nvcc where CUDA kernels are to be built."""
    wanted = os.environ.get("MNAD_CUDA", "auto")
    if wanted not in {"auto", "0", "1"}:
        raise BuildError(f"MNAD_CUDA must be auto, 0 or 1, got {wanted!r}")
    if wanted == "0" or (wanted == "auto" and not torch_has_cuda):
        return None
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    nvcc = (
        shutil.which("nvcc", path=str(Path(home) / "bin") if home else None)
        or shutil.which("nvcc")
        or shutil.which("/usr/local/cuda/bin/nvcc")
    )
    if nvcc is None:
        message = (
            "nvcc was not found. Install the CUDA toolkit (or pip install nvidia-cuda-nvcc) and set CUDA_HOME, "
            "or set MNAD_CUDA=0 for CPU kernels only"
        )
        if wanted == "1":
            raise BuildError(message)
        print(f"mnad-ext: this torch has CUDA, but {message}; building without CUDA kernels")
    return nvcc


def _cuda_version(nvcc: str) -> str:
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"release (\d+\.\d+)", text)
    if found is None:
        raise BuildError(f"{nvcc} --version does not tell a CUDA version; is the toolkit whole?")
    return found.group(1)


def _architectures() -> tuple[str, ...]:
    listed = os.environ.get("TORCH_CUDA_ARCH_LIST") or DEFAULT_ARCHITECTURES
    architectures = tuple(re.split(r"[;\s]+", listed.strip(" ;")))
    for architecture in architectures:
        if not re.fullmatch(r"\d+\.\d[af]?(\+PTX)?", architecture):
            raise BuildError(
                f"TORCH_CUDA_ARCH_LIST must list architectures such as '8.0;9.0+PTX', got {architecture!r}"
            )
    return architectures


def _flag(name: str) -> bool:
    value = os.environ.get(name, "0")
    if value not in {"0", "1"}:
        raise BuildError(f"{name} must be 0 or 1, got {value!r}")
    return value == "1"


def _jobs() -> int:
    value = os.environ.get("MAX_JOBS") or str(os.cpu_count() or 1)
    if not value.isdecimal() or int(value) < 1:
        raise BuildError(f"MAX_JOBS must be a positive number, got {value!r}")
    return int(value)
