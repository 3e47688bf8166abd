"""Installs a wheel in a clean environment that has no compiler, and runs the operators' tests there.

    python build_tools/check_wheel.py WHEEL TORCH_VERSION...

Those of compiled code run afterwards, with the compiler of this machine, which torch.compile needs. Not run are the
tests of all operators by each of the other instruction sets, as no torch changes what those do, and those of the
sources. What is not run is named at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
COMPILERS = ("c++", "g++", "gcc", "cc", "clang", "clang++", "nvcc")
# Variables that lead to a compiler, to another environment or to other kernels.
VARIABLES = ("CC", "CXX", "CUDA_HOME", "CUDA_PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
TESTED_ELSEWHERE = (
    "tests/ext/test_instruction_sets.py::test_operators",
    "tests/ext/test_assertions.py::test_passes_run",  # these two build the sources
    "tests/ext/test_assertions.py::test_a_debug_build",
)

Tests = tuple[str, ...]


def check(wheel: Path, torch_version: str, tests: Tests = ("tests/ext",), compiled: Tests = ("tests/ext",)) -> None:
    """Raises CalledProcessError where ``wheel`` can't be installed beside this torch, or a test fails.

    ``tests`` run without a compiler; of ``compiled`` run those that need one.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        venv.create(folder / "env", symlinks=True)
        environment = without_compilers(folder / "env" / "bin")
        python = str(folder / "env" / "bin" / "python")
        _install(python, [f"torch=={torch_version}"], environment)
        _install(python, ["-c", str(ROOT / "constraints.txt"), "numpy", "pytest", "hypothesis"], environment)
        _install(python, ["--no-deps", "--no-index", str(wheel.resolve())], environment)

        shutil.copytree(ROOT / "tests" / "ext", folder / "tests" / "ext")
        for name in ("tests/__init__.py", "tests/settings.py", "pyproject.toml"):
            shutil.copy(ROOT / name, folder / name)
        shutil.copy(ROOT / "build_tools" / "wheel_conftest.py", folder / "conftest.py")
        left_out = [f"--deselect={name}" for name in TESTED_ELSEWHERE]
        runs = [("not compiler", tests, environment["PATH"]), ("compiler", compiled, os.environ["PATH"])]
        for marked, selected, path in runs:
            # By a variable, as some tests run pytest once more.
            environment |= {"PATH": path, "PYTEST_ADDOPTS": f'-p no:cacheprovider -m "{marked}"'}
            subprocess.run([python, "-m", "pytest", *left_out, *selected], cwd=folder, env=environment, check=True)


def without_compilers(path: Path) -> dict[str, str]:
    """Returns an environment whose programs are those of ``path`` alone, or ends where a compiler is among them."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES and name[:5] != "MNAD_"}
    found = [name for name in COMPILERS if shutil.which(name, path=str(path))]
    if found:
        raise SystemExit(f"{path} has compilers: {', '.join(found)}")
    return {**kept, "PATH": str(path), "OMP_WAIT_POLICY": "passive"}


def _install(python: str, what: list[str], environment: dict[str, str]) -> None:
    # By the pip of this interpreter, so that the clean environment needs none. Nothing is built from source.
    pip = [sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--only-binary", ":all:", "--no-compile", *what], env=environment, check=True)


if __name__ == "__main__":
    for version in sys.argv[2:]:
        print(f"\n{sys.argv[1]} beside torch {version}", flush=True)
        check(Path(sys.argv[1]), version)
