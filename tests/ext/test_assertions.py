"""Assertions of the CPU kernels: a build with MNAD_DEBUG=1 checks them, any other one has none."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mnad_ext
from mnad_ext import _C

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="module")
def short_arena(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiles ``short_arena.cpp`` and the baseline kernels with the flags of a debug build."""
    sys.path.insert(0, str(ROOT / "build_tools"))
    from configuration import configure
    from ninja_build import common_flags, tile_kernels

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNAD_DEBUG", "1")
        configuration = configure("assertions")
    folder = tmp_path_factory.mktemp("short_arena")
    compiler = shlex.split(configuration.compiler)
    kernels = [(source, shlex.split(flags)) for source, name, flags in tile_kernels() if name == "baseline"]
    objects = []
    for source, flags in [*kernels, (HERE / "short_arena.cpp", [])]:
        objects.append(str(folder / f"{source.stem}.o"))
        _run([*compiler, *common_flags(configuration), *flags, "-c", str(source), "-o", objects[-1]])
    _run([*compiler, *objects, "-o", str(folder / "short_arena")])
    return folder / "short_arena"


def _run(command: list[str]) -> None:
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.compiler
def test_passes_run_on_the_scratch_memory_that_they_ask_for(short_arena: Path) -> None:
    result = subprocess.run([short_arena, "exact"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "all passes ran\n"), result.stderr


@pytest.mark.compiler
@pytest.mark.parametrize("short_pass", ["forward", "backward"])
def test_a_debug_build_catches_one_cache_line_too_little(short_arena: Path, short_pass: str) -> None:
    result = subprocess.run([short_arena, short_pass], capture_output=True, text=True, check=False)
    assert result.returncode == -signal.SIGABRT
    assert "the arena is exhausted" in result.stderr


def test_the_installed_extension_has_assertions_only_where_it_says_so() -> None:
    built = Path(_C.__file__).read_bytes()
    assert (b"__assert_fail" in built) == mnad_ext.build_info()["debug"]
