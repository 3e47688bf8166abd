"""The tests of the operators once more, by the CUDA kernels: emulated, in every schedule."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cuda_emulator import build

pytestmark = pytest.mark.skipif(not build.available(), reason="needs nvcc's headers and x86-64")

TESTS = ["test_operators.py", "test_properties.py", "test_registration.py"]
# Neither the compiler's doing nor an hour of emulation is asked for again.
LEFT_OUT = "not compile and not two_billion and not gradcheck and not opcheck"
# Where queries lie does not depend on a schedule: one of these layouts a device is enough, beside the two common ones.
RARE_LAYOUTS = ("cropped", "sliced", "offset")
# Schedule, processors of the device, KiB of shared memory of a block (28 leave no room for most arrays), rare layout.
DEVICES = {
    "forward": (0, 4, 227, "cropped"),
    "reverse": (1, 132, 28, "sliced"),
    "by-lane": (2, 132, 64, "offset"),
    "random": (3, 1, 227, None),
}


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """The test runs of all devices, begun together."""
    build.build(build.EXTENSION)
    paths = [str(build.ROOT / "tests" / "ext" / name) for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths]
    started = {}
    for name, (schedule, processors, shared, rare) in DEVICES.items():
        settings = {
            "MNAD_EMULATED_EXTENSION": str(build.EXTENSION),
            "MNAD_EMULATOR_SCHEDULE": str(schedule),
            "MNAD_EMULATOR_PROCESSORS": str(processors),
            "MNAD_EMULATOR_SHARED_KIB": str(shared),
            "CUDA_VISIBLE_DEVICES": "",  # the emulator cannot reach a GPU's memory
            "MNAD_REQUIRE_CUDA": "0",
            "OMP_NUM_THREADS": "1",
        }
        left_out = [f"not {layout}" for layout in RARE_LAYOUTS if layout != rare]
        started[name] = subprocess.Popen(
            [*command, "-k", " and ".join([LEFT_OUT, *left_out])],
            cwd=build.ROOT,
            env=os.environ | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    yield started
    for process in started.values():
        process.kill()


@pytest.mark.parametrize("name", DEVICES)
def test_operators(runs: dict[str, subprocess.Popen[str]], name: str) -> None:
    output, _ = runs[name].communicate()
    assert runs[name].returncode == 0, output[-5000:]
    assert " passed" in output


def test_the_emulated_kernels_are_what_runs() -> None:
    code = "import conftest, mnad_ext; from mnad_ext import _C; print(_C.__doc__)"
    build.build(build.EXTENSION)
    environment = os.environ | {"MNAD_EMULATED_EXTENSION": str(build.EXTENSION)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=build.ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert "emulated CUDA kernels" in result.stdout
