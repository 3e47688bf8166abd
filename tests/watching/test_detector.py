"""The front door: a detector's scores are those of the commands, whatever comes in beside them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import mnad
import numpy as np
import pytest
import torch
from mnad import Detector, FrameResult
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.measurements import load_measurements
from mnad.cli import main
from mnad.evaluation import Calibration, Locality
from mnad.pipeline.calibrate import CalibrateConfig, calibrate
from mnad.pipeline.score import ScoreConfig, score
from mnad.runtime.errors import CheckpointError, ConfigError, DataError
from mnad.training import TrainConfig, train
from numpy.typing import NDArray

from tests.sizes import HELD_OUT, PUBLISHED_SCORE

Frames = list[NDArray[np.uint8]]
LAST_BITS = 2e-6  # of P and of D, relative to them, which another size of a batch moves


SCORES: dict[str, dict[str, Any]] = {
    "published": {**PUBLISHED_SCORE},
    "for cameras": {},
    "P alone": {"score_weight": 1, "smoothing_width": 5},
    "relative": {"relative": True, "score_weight": "max", "smoothing": "none"},
}


@pytest.fixture(scope="session", params=SCORES)
def calibrated(request: pytest.FixtureRequest, held_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run calibrated for one of several scores, with half its frames below the update threshold."""
    run = shutil.copytree(held_out, tmp_path_factory.mktemp("calibrated") / "run")
    data = Path(load_checkpoint(run).training["data"])
    often = float(np.median(load_measurements(held_out).update_error))
    options = {**SCORES[request.param], "update_threshold": often}
    calibrate(CalibrateConfig(run, data, (3600, 36000), fps=25, accelerator="cpu", **options))
    return run


@pytest.fixture(scope="session")
def detector(calibrated: Path) -> Detector:
    return Detector.load(calibrated, accelerator="cpu")


def frames_of(folder: Path) -> Frames:
    """The frames of a video as OpenCV reads them, BGR."""
    return [cv2.imread(str(path)) for path in sorted(folder.iterdir())]  # type: ignore[misc]


def videos(synthetic: Path) -> dict[str, Frames]:
    return {folder.name: frames_of(folder) for folder in sorted((synthetic / "testing" / "frames").iterdir())}


def watch(detector: Detector, frames: Frames) -> list[FrameResult]:
    detector.reset()
    return [detector.step(frame) for frame in frames]


def same(detector: Detector) -> dict[str, float]:
    """How far scores may differ whose P and D differ in their last bits, which narrow bounds make larger."""
    bounds = [pair for pair in detector.calibration.bounds if pair is not None]
    return {"rtol": 0, "atol": LAST_BITS * max(1 + max(map(abs, pair)) / (pair[1] - pair[0]) for pair in bounds)}


def scores_of(results: list[FrameResult]) -> NDArray[np.float64]:
    return np.array([np.nan if result.score is None else result.score for result in results])


def commands(run: Path, video: Path, out: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Scores, alarms and updates by ``mnad score`` and ``mnad evaluate --threshold calibrated``."""
    update = Calibration.from_dict(load_checkpoint(run).calibration or {}, run).update_threshold
    score(ScoreConfig(run, video, out=out / "m.npz", update_threshold=update, accelerator="cpu"))
    shutil.copy(run / "checkpoint.safetensors", out)
    outcome = mnad.evaluate(out / "m.npz", threshold="calibrated")
    assert outcome.calibration is not None
    assert outcome.detection is not None
    alarm = outcome.scores > outcome.detection.rule.threshold
    return outcome.scores, alarm, int(outcome.measurements.updated.sum())


def test_scores_are_those_of_the_commands(
    detector: Detector, calibrated: Path, synthetic: Path, tmp_path: Path
) -> None:
    updates = 0
    for name, frames in videos(synthetic).items():
        folder = synthetic / "testing" / "frames" / name
        out = tmp_path / name
        out.mkdir()
        scores, alarm, updated = commands(calibrated, folder, out)
        updates += updated
        results = watch(detector, frames)
        assert [result.score is None for result in results] == [True] * 4 + [False] * (len(frames) - 4)
        np.testing.assert_allclose(scores_of(results)[4:], scores, **same(detector))
        assert [result.alarm for result in results[4:]] == alarm.tolist()
        whole = detector.score(folder)
        np.testing.assert_allclose(whole.score, scores, **same(detector))
        np.testing.assert_array_equal(whole.frame, np.arange(4, len(frames)))
        np.testing.assert_allclose(detector.score(frames).score, scores, **same(detector))
    assert 0 < updates < 3 * 36  # so that items that were updated, and that were not, are read


def test_the_map_of_a_score_tells_where_it_comes_from(detector: Detector, synthetic: Path) -> None:
    results = watch(detector, next(iter(videos(synthetic).values())))
    assert all(result.score_map is None for result in results[:4])
    if detector.calibration.locality == Locality():
        assert all(result.score_map is None for result in results)
        return
    raw = [result.score_map.max() for result in results[4:] if result.score_map is not None]
    width = 1 if detector.calibration.smoothing.name == "none" else detector.calibration.smoothing.width
    smoothed = [np.mean(raw[max(0, index + 1 - width) : index + 1]) for index in range(len(raw))]
    assert np.isfinite(raw).all()
    assert len(raw) == len(results) - 4
    if detector.calibration.score_weight == 1:
        np.testing.assert_allclose(scores_of(results)[4:], smoothed, **same(detector))
    if detector.calibration.score_weight == "max":  # D is somewhere at least as far as on average
        assert (np.array(smoothed) >= scores_of(results)[4:] - same(detector)["atol"]).all()


def test_streams_are_apart_and_computed_together(detector: Detector, synthetic: Path) -> None:
    by_name = videos(synthetic)
    alone = {name: scores_of(watch(detector, frames)) for name, frames in by_name.items()}
    detector.reset()
    together: dict[str, list[FrameResult]] = {name: [] for name in by_name}
    late = list(by_name)[-1]  # begins five frames later than the others
    for index in range(len(by_name[late]) + 5):
        frames = {name: frames[index] for name, frames in by_name.items() if name != late and index < len(frames)}
        if index >= 5:
            frames[late] = by_name[late][index - 5]
        for name, result in detector.step(frames).items():
            together[name].append(result)
    assert set(detector.streams) == set(by_name)
    for name, results in together.items():
        np.testing.assert_allclose(scores_of(results), alone[name], **same(detector))


def test_a_reset_stream_has_seen_nothing(detector: Detector, synthetic: Path) -> None:
    frames = next(iter(videos(synthetic).values()))
    detector.reset()
    for frame in frames:
        detector.step({"gate": frame, "yard": frame})
    detector.reset("gate")
    assert detector.streams == ("yard",)
    again = [detector.step({"gate": frame})["gate"] for frame in frames]
    np.testing.assert_array_equal(scores_of(again), scores_of(watch(detector, frames)))


def test_a_stopped_detector_goes_on(detector: Detector, calibrated: Path, synthetic: Path, tmp_path: Path) -> None:
    one, two = list(videos(synthetic).values())[:2]
    detector.reset()
    whole = [detector.step({"gate": a, "yard": b}) for a, b in zip(one, two, strict=True)]
    for stop in (2, 17):
        detector.reset()
        for a, b in zip(one[:stop], two[:stop], strict=True):
            detector.step({"gate": a, "yard": b})
        detector.save_state(tmp_path / "state")
        other = Detector.load(calibrated, accelerator="cpu")
        other.load_state(tmp_path / "state")
        rest = [other.step({"gate": a, "yard": b}) for a, b in zip(one[stop:], two[stop:], strict=True)]
        assert rest == whole[stop:]


def test_a_frame_that_could_not_be_read(detector: Detector, synthetic: Path) -> None:
    """Its stream begins a new window and keeps its memory, as a whole video with a missing frame does."""
    frames: list[NDArray[np.uint8] | None] = [*next(iter(videos(synthetic).values()))]
    frames[20] = None
    detector.reset()
    results = [detector.step(frame) for frame in frames]
    assert [index for index, result in enumerate(results) if result.score is None] == [0, 1, 2, 3, *range(20, 25)]
    whole = detector.score(frames)
    np.testing.assert_allclose(scores_of(results)[whole.frame], whole.score, **same(detector))
    assert len(whole.frame) == len(frames) - 9


def test_an_error_leaves_the_streams_as_they_were(
    detector: Detector, synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = next(iter(videos(synthetic).values()))
    expected = watch(detector, frames)
    detector.reset()
    for index, frame in enumerate(frames):
        if index in (5, 11):
            with monkeypatch.context() as broken:
                broken.setattr(detector._streams.network, "encode", fail)
                with pytest.raises(RuntimeError, match="out of memory"):
                    detector.step({"": frame, "yard": frame})
            assert detector.streams == ("",)
        assert detector.step(frame) == expected[index]


def test_a_model_that_gives_nothing_finite(held_out: Path) -> None:
    detector = Detector.load(held_out, accelerator="cpu")
    torch.nn.init.constant_(detector._streams.network.decoder.exit[0].bias, torch.nan)  # type: ignore[index]
    frame = np.zeros((8, 8), np.uint8)
    for _ in range(4):
        detector.step({"yard": frame})
    before = dict(detector._streams.by_name)
    with pytest.raises(CheckpointError, match="nothing finite for the newest frame of stream 'yard', though"):
        detector.step({"gate": frame, "yard": frame})
    assert detector._streams.by_name == before


def fail(*_: object) -> None:
    raise RuntimeError("out of memory")


def test_a_result_keeps_nothing_of_other_streams(detector: Detector, synthetic: Path) -> None:
    detector.reset()
    for frame in next(iter(videos(synthetic).values()))[:6]:
        results = detector.step({str(index): frame for index in range(4)})
    kept = results["2"]
    assert kept._expected is not None
    assert kept._error is not None
    assert kept._expected.untyped_storage().nbytes() == 32 * 32 * 3
    assert kept._error.untyped_storage().nbytes() == 32 * 32 * 4


def test_autocast_around_it_changes_nothing(detector: Detector, synthetic: Path) -> None:
    frames = next(iter(videos(synthetic).values()))[:8]
    expected = watch(detector, frames)
    with torch.autocast("cpu", torch.bfloat16):
        assert watch(detector, frames) == expected


def test_what_was_expected_and_where_it_differs(detector: Detector, synthetic: Path) -> None:
    frames = next(iter(videos(synthetic).values()))
    first, *_, last = watch(detector, frames)
    assert (first.score, first.alarm, first.expected, first.error_map, first.psnr) == (None, False, None, None, None)
    assert last.expected is not None
    assert last.error_map is not None
    assert (last.expected.shape, last.expected.dtype) == ((32, 32, 3), np.uint8)
    assert (last.error_map.shape, last.error_map.dtype) == ((32, 32), np.float32)
    assert 10 * np.log10(1 / last.error_map.mean()) == pytest.approx(last.psnr, abs=1e-3)
    seen = cv2.resize(frames[-1], (32, 32), interpolation=cv2.INTER_LINEAR)
    by_hand = (np.square(last.expected.astype(float) - seen) / 255**2).mean(2)
    np.testing.assert_allclose(last.error_map, by_hand, atol=0.01)  # the expected frame is rounded to bytes


def test_frames_of_any_size_in_grey_or_colour(detector: Detector) -> None:
    random = np.random.default_rng(0)
    grey = [random.integers(0, 255, (50, 70), np.uint8) for _ in range(6)]
    for shown in (grey, [frame[..., None] for frame in grey], [np.repeat(frame[..., None], 3, 2) for frame in grey]):
        np.testing.assert_array_equal(scores_of(watch(detector, shown)), scores_of(watch(detector, grey)))


def test_a_model_of_grey_frames_sees_one_grey_of_files_and_frames(synthetic: Path, tmp_path: Path) -> None:
    train(TrainConfig(synthetic, tmp_path / "run", image_channels=1, **HELD_OUT))
    calibrate(CalibrateConfig(tmp_path / "run", synthetic, fps=25, accelerator="cpu"))
    detector = Detector.load(tmp_path / "run", accelerator="cpu")
    random = np.random.default_rng(0)
    frames = [random.integers(0, 255, (32, 32, 3), np.uint8) for _ in range(8)]
    (tmp_path / "video").mkdir()
    for index, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / "video" / f"{index}.png"), frame)
    np.testing.assert_array_equal(detector.score(tmp_path / "video").psnr, detector.score(frames).psnr)


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        (np.zeros((4, 4, 3)), TypeError, r"the frame of stream 'yard' must be uint8.*got float64"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"must be \(H, W\) or \(H, W, 1 or 3\), got \(4, 4, 4\)"),
        (np.zeros((0, 4), np.uint8), ValueError, r"got \(0, 4\)"),
        ("gate.mp4", TypeError, "must be a NumPy array, got str"),
    ],
)
def test_a_wrong_frame_moves_no_stream(
    frame: object, error: type[Exception], words: str, detector: Detector, synthetic: Path
) -> None:
    frames = next(iter(videos(synthetic).values()))[:8]
    expected = scores_of(watch(detector, frames))
    detector.reset()
    for index, good in enumerate(frames):
        if index == 5:
            with pytest.raises(error, match=words):
                detector.step({"": good, "yard": frame})  # type: ignore[dict-item]
        assert detector.step(good).score == pytest.approx(expected[index], nan_ok=True) or index < 4
    assert detector.streams == ("",)


def test_what_is_refused(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    train(TrainConfig(synthetic, bare, **HELD_OUT))
    with pytest.raises(CheckpointError, match="is not calibrated.*mnad calibrate"):
        Detector.load(bare)
    with pytest.raises(ConfigError, match="calibrated for 3600, 36000 false alarms an hour, not for 5"):
        Detector.load(held_out, false_alarms_per_hour=5)
    detector = Detector.load(held_out, accelerator="cpu")
    with pytest.raises(DataError, match="holds 3 videos, but one is scored at a time"):
        detector.score(synthetic)
    with pytest.raises(DataError, match="the video has no frames"):
        detector.score([])
    with pytest.raises(CheckpointError, match="there is no state of streams"):
        detector.load_state(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"the video must be frames.*got one frame, \(32, 32, 3\)"):
        detector.score(np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "damaged").write_bytes(b"not a state")
    with pytest.raises(CheckpointError, match="not a state of streams"):
        detector.load_state(tmp_path / "damaged")


def test_a_state_belongs_to_its_model_and_calibration(
    held_out: Path, synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = Detector.load(held_out, accelerator="cpu")
    detector.step(np.zeros((8, 8), np.uint8))
    detector.save_state(tmp_path / "state")
    other = shutil.copytree(held_out, tmp_path / "other")
    options = ["--data", str(synthetic), "--fps", "25", "--lambda", "0.5", "--accelerator", "cpu"]
    assert main(["calibrate", str(other), *options]) == 0
    kept = Detector.load(other, accelerator="cpu")
    kept.step(np.zeros((8, 8), np.uint8))
    with pytest.raises(CheckpointError, match="of another model, or of another calibration"):
        kept.load_state(tmp_path / "state")
    state = bytearray((tmp_path / "state").read_bytes())
    state[-3] ^= 1
    (tmp_path / "state").write_bytes(state)
    with pytest.raises(CheckpointError, match="does not hold the tensors that were written"):
        detector.load_state(tmp_path / "state")
    assert kept.streams == ("",)  # as it was


def test_a_calibration_that_looks_ahead_is_for_whole_videos(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    run = shutil.copytree(held_out, tmp_path / "run")
    calibrate(CalibrateConfig(run, synthetic, fps=25, smoothing="median", smoothing_width=3, accelerator="cpu"))
    detector = Detector.load(run, accelerator="cpu")
    with pytest.raises(ConfigError, match="smooths scores by frames to come"):
        detector.step(np.zeros((8, 8), np.uint8))
    assert len(detector.score(next((synthetic / "testing" / "frames").iterdir())).score)


def test_importing_the_package_does_not_wait_for_torch() -> None:
    code = "import mnad, sys, json; print(json.dumps(['torch' in sys.modules, sorted(mnad.__all__)]))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, names = json.loads(result.stdout)
    assert not loaded
    assert set(names) <= set(dir(mnad))
    with pytest.raises(AttributeError, match="no attribute 'Watcher'"):
        mnad.Watcher  # noqa: B018
