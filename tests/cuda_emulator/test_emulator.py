"""The emulator finds what it is there to find, and nothing in a right kernel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cuda_emulator import build

pytestmark = pytest.mark.skipif(not build.available(), reason="needs nvcc's headers and x86-64")

SCHEDULES = range(4)
# What finds a bug, and the words it does so with. Without ThreadSanitizer a missing barrier may go unseen where the
# threads happen to run in the right order.
FINDINGS = {
    ("MISSING_BARRIER", "thread"): "data race",
    ("SHARED_OVERRUN", "address"): "heap-buffer-overflow",
    ("GLOBAL_OVERRUN", "address"): "heap-buffer-overflow",
    ("DIVERGENT_BARRIER", "plain"): "two different __syncthreads()",
    ("DIVERGENT_BARRIER", "address"): "two different __syncthreads()",
    ("DIVERGENT_BARRIER", "thread"): "two different __syncthreads()",
    ("MISALIGNED_WORD", "plain"): "where it is not aligned",
    ("MISSING_LANES", "plain"): "waits for lanes that do not come",
    ("LANES_OUTSIDE_GROUP", "plain"): "outside its group",
    ("LANES_AS_BARRIER", "thread"): "data race",
    ("ABANDONED_COPY", "plain"): "without waiting for its copies",
}


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    build.build(*(build.planted(bug, sanitizer) for bug in build.PLANTED_BUGS for sanitizer in build.SANITIZERS))


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    # ThreadSanitizer wants its memory where address space layout randomisation may have put something else.
    command = ["setarch", "-R", str(program), *map(str, arguments)]
    options = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "halt_on_error=1"}
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | options, check=False)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("bug", "sanitizer"), FINDINGS, ids="-".join)
def test_a_planted_bug_is_found(bug: str, sanitizer: str, schedule: int) -> None:
    result = run(build.planted(bug, sanitizer), schedule)
    assert result.returncode != 0
    assert FINDINGS[bug, sanitizer] in result.stderr


def test_a_missing_wait_shows_in_every_schedule() -> None:
    for schedule in SCHEDULES:
        result = run(build.planted("MISSING_WAIT", "plain"), schedule)
        assert result.returncode == 1
        assert "nan" in result.stdout  # what shared memory holds before


def test_a_missing_barrier_shows_in_some_schedule_without_a_sanitizer() -> None:
    results = [run(build.planted("MISSING_BARRIER", "plain"), schedule) for schedule in SCHEDULES]
    assert any(result.returncode != 0 for result in results)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sanitizer", build.SANITIZERS)
def test_nothing_is_found_in_a_right_kernel(sanitizer: str, schedule: int) -> None:
    result = run(build.planted("NONE", sanitizer), schedule)
    assert (result.returncode, result.stdout, result.stderr) == (0, "256\n", "")


@pytest.mark.parametrize("sanitizer", build.SANITIZERS)
def test_the_passes_are_clean_and_equal_those_of_the_cpu(sanitizer: str) -> None:
    build.build(build.passes(sanitizer))
    result = run(build.passes(sanitizer))
    assert (result.returncode, result.stdout, result.stderr) == (0, "the same results\n", "")
