"""The commands for a GPU machine, where nothing can be installed, need no package that is not there."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from .rehearsal import play
from .test_ped2_rescue import summary_of

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
# Of all that this package and its tests use, what such a machine lacked when its packages were listed.
NOT_THERE = (
    *("auditwheel", "av", "boto3", "jsonargparse", "moto", "openvino", "paho"),
    *("ray", "s3fs", "selenium", "starlette", "upath", "uvicorn"),
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables of processes that find none of these."""
    folder = tmp_path / "not-there"
    folder.mkdir()
    for name in NOT_THERE:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('there is no {name} on this machine')\n")
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    return os.environ | {"PYTHON": sys.executable, "PYTHONPATH": path}


def run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests(environment: dict[str, str], tmp_path: Path) -> None:
    calls = play([str(BENCH / "gpu_check.sh"), str(tmp_path / "out")], tmp_path / "played").calls
    tests = next(call.removeprefix("tests: ") for call in calls if call.startswith("tests: "))
    printed = run([sys.executable, *shlex.split(tests), "--collect-only"], environment)
    for name in ("tests/ext/test_operators.py", "tests/ext/test_cuda.py", "tests/training/test_on_gpu.py"):
        assert name in printed


def test_ped2_packed(environment: dict[str, str], synthetic: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "ped2.tar", "w") as archive:
        archive.add(synthetic, "ped2")
    run(
        ["bash", str(BENCH / "ped2_gpu.sh"), "--dry-run", str(tmp_path / "ped2.tar"), str(tmp_path / "out")],
        environment,
    )
    assert summary_of(tmp_path / "out" / "results")["finished"]
    assert 0 < summary_of(tmp_path / "out" / "results")["auc"] <= 1
    files = [path for path in (tmp_path / "out" / "results").rglob("*") if path.is_file()]
    assert len(files) <= 8


@pytest.mark.parametrize(
    "call",
    ["small_cases.py --cases two", "gpu_operators.py --help", "gpu_bars.py --help", "ped2_probe.py --help"],
    ids=lambda call: call.split(".")[0],
)
def test_the_other_commands(call: str, environment: dict[str, str]) -> None:
    script, *options = call.split()
    run([sys.executable, str(BENCH / script), *options], environment)
