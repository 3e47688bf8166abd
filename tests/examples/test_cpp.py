"""The C++ example: built with OpenVINO's own package, and its scores beside Python's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from mnad.detector import Detector
from mnad.pipeline.calibrate import CalibrateConfig, calibrate
from mnad.pipeline.export import ExportConfig, export
from numpy.typing import NDArray

SOURCES = Path(__file__).parents[2] / "examples" / "cpp"
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cmake") is None and os.environ.get("MNAD_REQUIRE_CMAKE") != "1":
        pytest.skip("no cmake; MNAD_REQUIRE_CMAKE=1 makes this a failure")
    openvino = pytest.importorskip("openvino")
    build, package = tmp_path_factory.mktemp("cpp"), Path(openvino.__file__).parent
    configure = ["cmake", "-S", str(SOURCES), "-B", str(build), f"-DOpenVINO_DIR={package / 'cmake'}"]
    for command in ([*configure, "-DCMAKE_BUILD_TYPE=Release"], ["cmake", "--build", str(build), "-j2"]):
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout + made.stderr
    return build / "mnad_score"


@pytest.fixture(scope="module")
def run(held_out: Path, synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose test-time update happens at some frames and not at others."""
    folder = shutil.copytree(held_out, tmp_path_factory.mktemp("run") / "gate")
    threshold = float(np.median(np.load(held_out / "measurements.npz")["update_error"]))
    calibrate(CalibrateConfig(folder, synthetic, (45000,), fps=25, update_threshold=threshold, accelerator="cpu"))
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(ExportConfig(run, tmp_path_factory.mktemp("exports") / "gate", "openvino"))


@pytest.fixture(scope="module")
def frames(synthetic: Path) -> list[NDArray[np.uint8]]:
    """A video of the test split, larger than the model's frames and not as wide as high."""
    folder = sorted((synthetic / "testing" / "frames").iterdir())[-1]
    pictures = [cv2.imread(str(file)) for file in sorted(folder.iterdir())]
    return [np.asarray(cv2.resize(each, (96, 64)), np.uint8) for each in pictures]


def as_ppm(frames: list[NDArray[np.uint8]]) -> bytes:
    return b"".join(b"P6\n%d %d\n255\n" % each.shape[1::-1] + each[..., ::-1].tobytes() for each in frames)


def test_gives_the_scores_of_python(program: Path, run: Path, exported: Path, frames: list[NDArray[np.uint8]]) -> None:
    detector = Detector.load(run)
    results = {number: detector.step(frame) for number, frame in enumerate(frames)}
    expected = {number: result for number, result in results.items() if result.score is not None}
    printed = subprocess.run([program, exported, "-"], input=as_ppm(frames), capture_output=True, check=True).stdout
    lines = [line.split() for line in printed.decode().splitlines()]
    assert [int(line[0]) for line in lines] == list(expected)
    scores = np.array([result.score for result in expected.values()])
    np.testing.assert_allclose([float(line[1]) for line in lines], scores, atol=TOLERANCE)
    assert [line[2:] == ["alarm"] for line in lines] == [result.alarm for result in expected.values()]
    assert any(result.alarm for result in expected.values())


def failure(*arguments: object, stdin: bytes = b"") -> str:
    found = subprocess.run([str(each) for each in arguments], input=stdin, capture_output=True, check=False)
    assert found.returncode == 1
    return found.stderr.decode()


def test_says_what_is_wrong(
    program: Path, exported: Path, trained: Path, frames: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    video = as_ppm(frames)
    assert "score.xml is missing" in failure(program, tmp_path, "-")
    copied = shutil.copytree(exported, tmp_path / "copied")
    (copied / "update.bin").unlink()
    assert "update.bin is missing" in failure(program, copied, "-")
    shutil.copy(exported / "update.bin", copied)
    (copied / "items.npy").write_bytes(b"\x93NUMPY")
    assert "does not hold the items" in failure(program, copied, "-")
    assert "the video ends within a picture" in failure(program, exported, "-", stdin=video[:-1])
    assert "fewer than the 5 frames that a score takes" in failure(program, exported, "-", stdin=as_ppm(frames[:4]))
    assert "no stream of PPM pictures" in failure(program, exported, "-", stdin=b"RIFF....AVI ")
    assert "cannot open" in failure(program, exported, tmp_path / "gone.ppm")
    unscaled = export(ExportConfig(trained, tmp_path / "unscaled", "openvino"))
    assert "calibrate the run and export it again" in failure(program, unscaled, "-", stdin=video)
