"""Thresholds from normal video, the frames they come from, and where they are stored."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import mnad
import numpy as np
import pytest
import torch
from mnad.artifacts.checkpoint import export_checkpoint, load_checkpoint, save_calibration, save_checkpoint
from mnad.artifacts.measurements import load_measurements, save_measurements
from mnad.data import Clips, Windows, open_clips
from mnad.data.clips import tails
from mnad.evaluation import (
    Calibration,
    Locality,
    Scaling,
    Smoothing,
    abnormality,
    bounds_of,
    find_thresholds,
    smooth,
)
from mnad.measuring import MapRecorder, measure
from mnad.measuring.map_recorder import ErrorRecorder
from mnad.measuring.pooling import error_level, pool
from mnad.measuring.usual import Usual, usual_error
from mnad.pipeline.calibrate import CalibrateConfig, calibrate
from mnad.pipeline.evaluate import EvaluateConfig, evaluate_run
from mnad.pipeline.learn_usual import learn_usual
from mnad.pipeline.score import ScoreConfig, score
from mnad.runtime.errors import CheckpointError, ConfigError, DataError
from mnad.training import TrainConfig, train
from mnad.training.config import check_resumable
from numpy.typing import NDArray

from tests.sizes import HELD_OUT, PUBLISHED_SCORE


def clips_of(lengths: list[int], channels: int = 1) -> Clips:
    starts = np.cumsum([0, *lengths])
    pixels = np.random.default_rng(0).integers(0, 256, (starts[-1], 8, 8, channels), np.uint8)
    names = tuple(f"{index:02d}" for index in range(len(lengths)))
    return Clips(pixels, names, starts, None, "none", None, (False,) * len(names))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_tails_and_training_windows_share_no_frame(share: float, tmp_path: Path) -> None:
    clips = clips_of([40, 7, 25, 3])
    held = tails(clips, share, tmp_path)
    windows = Windows(clips, 4, "next", hold_out=share)
    trained_on = {int(frame) for first in windows.firsts for frame in range(first, first + windows.length)}
    for (_, whole), (name, end) in zip(clips.videos(), held.videos(), strict=True):
        count = end.stop - end.start
        assert count == round(share * (whole.stop - whole.start)), name
        np.testing.assert_array_equal(held.frames[end], clips.frames[whole.stop - count : whole.stop])
        assert not trained_on & set(range(whole.stop - count, whole.stop))
    assert Windows(clips, 4, "next", hold_out=0).firsts.tolist() == Windows(clips, 4, "next").firsts.tolist()


def test_nothing_left(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the last 0.01 of each video is not a single frame"):
        tails(clips_of([10, 20]), 0.01, tmp_path)
    with pytest.raises(DataError, match="a window needs 5 frames, but the longest video has 4 left"):
        Windows(clips_of([5, 4]), 4, "next", hold_out=0.2)
    with pytest.raises(ConfigError, match="hold_out must be at least 0 and less than 1, got 1"):
        TrainConfig(Path("data"), Path("out"), hold_out=1)


def test_thresholds_are_quantiles() -> None:
    random = np.random.default_rng(0)
    scores, video = np.round(random.normal(size=500), 2), np.repeat(np.arange(5), 100)  # with ties
    fps = 2
    rates = [1, 14.5, 72, 720, 7000]
    for found, rate in zip(find_thresholds(scores, video, rates, fps), rates, strict=True):
        share = rate / 7200
        above = int((scores > found.threshold).sum())
        assert found.exceeding == above <= 500 * share
        lower = scores[scores < found.threshold]
        assert len(lower) == 0 or (scores > lower.max()).sum() > 500 * share  # no lower threshold would do
        assert found.spread[0] <= found.threshold <= found.spread[1]
        low, high = found.expected_per_hour
        assert 0 < low < high < 7200
    assert find_thresholds(scores, video, [1], fps)[0].threshold == scores.max()


def test_the_expected_rate_holds_on_new_frames() -> None:
    """Of the true rates of thresholds from many samples, 90 % lie within the bounds."""
    random = np.random.default_rng(1)
    rate, fps = 360.0, 2.0
    inside = 0
    for _ in range(100):
        sample = random.uniform(size=150)
        [found] = find_thresholds(sample, np.zeros(150, np.int64), [rate], fps)
        low, high = found.expected_per_hour
        inside += low <= (1 - found.threshold) * 7200 <= high
    assert 80 <= inside <= 99  # 90 within 3.3 standard deviations


def test_bad_rates() -> None:
    scores, video = np.zeros(3), np.zeros(3, np.int64)
    for rate in (0, 7200, -1):
        with pytest.raises(ConfigError, match=f"between 0 and the 7200 frames of an hour, got {rate}"):
            find_thresholds(scores, video, [rate], 2)
    with pytest.raises(ConfigError, match="fps must be positive, got 0"):
        find_thresholds(scores, video, [1], 0)
    for options, message in [
        ({"false_alarms_per_hour": ()}, "at least one rate"),
        ({"false_alarms_per_hour": (1, 90000), "fps": 25}, "got 90000"),
        ({"fps": 0}, "fps must be positive"),
        ({"smoothing": "median", "smoothing_width": 2}, "must be odd"),
    ]:
        with pytest.raises(ConfigError, match=message):
            CalibrateConfig(Path("run"), Path("data"), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def published(held_out: Path, synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, calibrated for the published score."""
    run = shutil.copytree(held_out, tmp_path_factory.mktemp("published") / "run")
    options = {"fps": 25, "accelerator": "cpu", **PUBLISHED_SCORE}
    calibrate(CalibrateConfig(run, synthetic, (3600, 36000), **options))
    return run


def test_what_was_held_out_is_measured(published: Path, synthetic: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(published)
    assert checkpoint.training["hold_out"] == 0.25
    assert checkpoint.calibration is not None
    calibration = Calibration.from_dict(json.loads(json.dumps(checkpoint.calibration)), published)
    assert calibration.as_dict() == Calibration.from_dict(calibration.as_dict(), published).as_dict()
    assert (calibration.hold_out, calibration.trained_on) == (0.25, False)
    assert (calibration.videos, calibration.frames) == (2, 2 * (10 - 4))
    measured = measure(checkpoint.build_model(), held_out_frames(synthetic, tmp_path), update_threshold=0.01)
    assert calibration.bounds == bounds_of(measured)
    scores = abnormality(measured, 0.6, Scaling("calibrated", calibration.bounds))
    assert calibration.thresholds == find_thresholds(scores, measured.video, (3600, 36000), 25)
    assert calibration.thresholds[0].threshold == scores.max()
    assert (calibration.usual, checkpoint.usual) == (None, {})
    assert checkpoint.optimizer is not None  # and the rest is as it was
    assert checkpoint.epoch == 1


def held_out_frames(synthetic: Path, folder: Path) -> Clips:
    return tails(open_clips(synthetic, "training", 32, progress=False), 0.25, folder)


def test_the_score_for_cameras_is_of_where_the_frame_is_worst(held_out: Path) -> None:
    calibration = Calibration.from_dict(load_checkpoint(held_out).calibration or {}, held_out)
    assert calibration.locality == Locality("box-7")
    assert (calibration.score_weight, calibration.smoothing) == (0.8, Smoothing("causal", 3))
    outcome = evaluate_run(EvaluateConfig(held_out, threshold="calibrated"))
    m, bounds = outcome.measurements, calibration.bounds
    assert bounds.distance is not None
    p = (bounds.psnr[1] - m.local_psnr[:, 2]) / (bounds.psnr[1] - bounds.psnr[0])
    d = (m.distance - bounds.distance[0]) / (bounds.distance[1] - bounds.distance[0])
    np.testing.assert_allclose(outcome.scores, smooth(0.8 * p + 0.2 * d, m.stretch, Smoothing("causal", 3)))


def test_without_a_memory_p_alone_counts(synthetic: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TrainConfig(synthetic, run, **HELD_OUT, preset="prediction-no-memory"))
    calibration = calibrate(CalibrateConfig(run, synthetic, fps=25, accelerator="cpu"))
    assert (calibration.score_weight, calibration.bounds.distance) == (1, None)
    with pytest.raises(ConfigError, match="lambda must be 1 for a model without memory, got 0.8"):
        calibrate(CalibrateConfig(run, synthetic, fps=25, score_weight=0.8, accelerator="cpu"))


@pytest.fixture(scope="module")
def relative(held_out: Path, synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, calibrated for a score in relation to what is usual at each place, and scored again."""
    run = shutil.copytree(held_out, tmp_path_factory.mktemp("relative") / "run")
    options = {"fps": 25, "accelerator": "cpu", "pooling": "box-5", "relative": True, "score_weight": "max"}
    calibrate(CalibrateConfig(run, synthetic, (3600, 36000), **options))
    score(ScoreConfig(run, synthetic, accelerator="cpu"))
    return run


def test_a_relative_score_is_of_what_is_least_usual_at_its_place(
    relative: Path,
) -> None:
    checkpoint = load_checkpoint(relative)
    assert checkpoint.calibration is not None
    calibration = Calibration.from_dict(checkpoint.calibration, relative)
    assert calibration.locality == Locality("box-5", relative=True)
    usual = Usual.of(checkpoint, relative)
    assert usual is not None
    assert calibration.usual == usual.identity
    m = load_measurements(relative)
    assert m.protocol["usual"] == usual.identity
    p, d = m.relative_psnr[:, 1], m.distance
    low, high = calibration.bounds.psnr
    of_psnr = (high - p) / (high - low)
    assert calibration.bounds.distance is not None
    low, high = calibration.bounds.distance
    expected = smooth(np.maximum(of_psnr, (d - low) / (high - low)), m.stretch, Smoothing("causal", 3))
    outcome = evaluate_run(EvaluateConfig(relative, threshold="calibrated"))
    np.testing.assert_allclose(outcome.scores, expected)


def test_no_held_out_frame_is_compared_with_itself(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(held_out)
    model, ends = checkpoint.build_model(), held_out_frames(synthetic, tmp_path)
    recorder, maps = ErrorRecorder(), MapRecorder()
    measured, usual = learn_usual(measure(model, ends, update="none", maps=recorder), recorder.errors)
    measure(model, ends, update="none", maps=maps)
    errors = maps.maps().error.astype(np.float64)
    for own in np.array_split(np.arange(len(errors)), 4):
        others = replace(usual, error=usual_error(np.delete(errors, own, axis=0).mean(axis=0)))
        expected = -pool(others.excess(error_level(torch.from_numpy(errors[own]).float())))
        np.testing.assert_allclose(measured.relative_psnr[own], expected, atol=0.01)  # maps are float16
    np.testing.assert_allclose(usual.error, usual_error(errors.mean(axis=0)), atol=0.01)


def test_frames_that_were_scored_before_the_calibration_are_to_be_scored_again(
    held_out: Path, synthetic: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(held_out, tmp_path / "run")
    evaluate_run(EvaluateConfig(run, threshold="calibrated"))  # nothing of it is relative
    calibrate(CalibrateConfig(run, synthetic, fps=25, relative=True, accelerator="cpu"))
    with pytest.raises(DataError, match="measured before the model was calibrated.*score them again with: mnad score"):
        evaluate_run(EvaluateConfig(run, threshold="calibrated"))
    with pytest.raises(DataError, match="measured without knowing what is usual at their place"):
        evaluate_run(EvaluateConfig(run, pooling="box-5", relative=True))
    with pytest.raises(ConfigError, match="relative is of places in the frame"):
        EvaluateConfig(run, relative=True)
    score(ScoreConfig(run, synthetic, accelerator="cpu"))
    evaluate_run(EvaluateConfig(run, threshold="calibrated"))
    calibrate(CalibrateConfig(run, synthetic, fps=25, pooling="box-5", relative=True, accelerator="cpu"))
    evaluate_run(EvaluateConfig(run, threshold="calibrated"))  # the same is usual


def test_what_is_usual_of_another_size_is_refused(relative: Path, synthetic: Path, tmp_path: Path) -> None:
    run = shutil.copytree(relative, tmp_path / "run")
    checkpoint = load_checkpoint(run)
    other = {**checkpoint.usual, "error": torch.zeros(16, 16)}
    save_checkpoint(run / "checkpoint.safetensors", replace(checkpoint, usual=other))
    with pytest.raises(CheckpointError, match=r"or not of frames of 32 x 32.*\(16, 16\).*calibrate"):
        score(ScoreConfig(run, synthetic, accelerator="cpu"))
    with pytest.raises(CheckpointError, match="calibrate the model again"):
        mnad.Detector.load(run, accelerator="cpu")
    assert checkpoint.calibration is not None
    with pytest.raises(ConfigError, match="the calibration is not of what is given as usual"):
        mnad.Detector(checkpoint.build_model(), Calibration.from_dict(checkpoint.calibration, run), 32)


def write_pictures(folder: Path, frames: NDArray[np.uint8]) -> Path:
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{index:03d}.png"), frame)
    return folder.parent


@pytest.mark.parametrize("relative", [False, True])
def test_a_scene_in_which_nothing_moves_scales_nothing(held_out: Path, tmp_path: Path, relative: bool) -> None:
    run = shutil.copytree(held_out, tmp_path / "run")
    still = np.full((60, 32, 32, 3), 90, np.uint8)
    data = write_pictures(tmp_path / "still" / "01", still)
    with pytest.raises(DataError, match="one and the same PSNR, which scales nothing: a scene in which nothing moves"):
        calibrate(CalibrateConfig(run, data, fps=25, relative=relative, accelerator="cpu"))
    assert load_checkpoint(run).calibration == load_checkpoint(held_out).calibration


def test_a_camera_that_moves_is_told(held_out: Path, tmp_path: Path) -> None:
    run = shutil.copytree(held_out, tmp_path / "run")
    wall = np.kron(np.random.default_rng(0).integers(40, 200, (8, 8, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    panned = np.stack([np.roll(wall, 2 * index, axis=1) for index in range(60)])
    with pytest.warns(UserWarning, match="the camera seems to move"):
        calibrate(CalibrateConfig(run, write_pictures(tmp_path / "pan" / "01", panned), fps=25, accelerator="cpu"))


@pytest.mark.filterwarnings("ignore:the camera seems to move")  # noise
def test_too_few_frames_to_tell_what_is_usual(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    run = shutil.copytree(held_out, tmp_path / "run")
    short = write_pictures(
        tmp_path / "short" / "01", np.random.default_rng(0).integers(0, 255, (26, 32, 32, 3), np.uint8)
    )
    with pytest.raises(DataError, match="frames were held out, too few to tell what is usual.*--no-relative"):
        calibrate(CalibrateConfig(run, short, fps=25, relative=True, accelerator="cpu"))


def test_a_calibrated_score_needs_no_other_frame(published: Path) -> None:
    outcome = evaluate_run(EvaluateConfig(published, threshold="calibrated"))
    m, calibration = outcome.measurements, outcome.calibration
    assert calibration is not None
    bounds = calibration.bounds
    assert bounds.distance is not None
    p = (bounds.psnr[1] - m.psnr) / (bounds.psnr[1] - bounds.psnr[0])
    d = (m.distance - bounds.distance[0]) / (bounds.distance[1] - bounds.distance[0])
    np.testing.assert_allclose(outcome.scores, 0.6 * p + 0.4 * d)
    assert outcome.choices.score_weight_source == "calibration"
    assert outcome.detection is not None
    assert outcome.detection.rule.threshold == calibration.thresholds[0].threshold
    assert (outcome.detection.fps, outcome.detection.calibrated_for) == (25, 3600)
    other = evaluate_run(EvaluateConfig(published, threshold="calibrated", false_alarms_per_hour=36000, fps=10))
    assert other.detection is not None
    assert other.detection.rule.threshold == calibration.thresholds[1].threshold
    assert other.detection.fps == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_weight": 0.5}, "calibration is for lambda 0.8 and means nothing for 0.5"),
        ({"pooling": "mean"}, "for pooling box-7 and means nothing for mean"),
        ({"relative": True, "pooling": "box-7"}, "for relative False and means nothing for True"),
        ({"normalisation": "per-video"}, "for normalisation calibrated and means nothing for per-video"),
        ({"smoothing": "none"}, "for smoothing causal and means nothing for none"),
        ({"false_alarms_per_hour": 7}, "calibrated for 3600, 36000 false alarms an hour, not for 7"),
    ],
)
def test_a_calibration_is_for_one_score(held_out: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate_run(EvaluateConfig(held_out, threshold="calibrated", **options))  # type: ignore[arg-type]


def test_a_run_that_held_nothing_out_is_warned_of(trained: Path, synthetic: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    with pytest.raises(DataError, match="holds no calibration; make one with: mnad calibrate"):
        evaluate_run(EvaluateConfig(run, threshold="calibrated"))
    with (
        pytest.raises(DataError, match="a window needs 5 frames, but the longest video has 4"),
        pytest.warns(UserWarning, match="the run held nothing out"),
    ):
        calibrate(CalibrateConfig(run, synthetic, fps=25, accelerator="cpu"))  # a tenth of 40 frames is too short


def test_warnings_of_a_calibration_that_does_not_fit(held_out: Path, tmp_path: Path) -> None:
    run = shutil.copytree(held_out, tmp_path / "run")
    checkpoint = load_checkpoint(run)
    path = run / "checkpoint.safetensors"
    measured = load_measurements(run)
    save_measurements(
        run / "measurements.npz",
        replace(measured, protocol={**measured.protocol, "update": "none", "update_threshold": None}),
    )
    with pytest.warns(UserWarning, match="for the test-time update carried-over .* measured with none"):
        evaluate_run(EvaluateConfig(run, threshold="calibrated"))
    assert checkpoint.calibration is not None
    save_checkpoint(path, replace(checkpoint, calibration={**checkpoint.calibration, "trained_on": True}))
    save_measurements(run / "measurements.npz", measured)
    with pytest.warns(UserWarning, match="made on frames that the model was trained on"):
        evaluate_run(EvaluateConfig(run, threshold="calibrated"))
    save_measurements(run / "measurements.npz", replace(measured, protocol={**measured.protocol, "weights": "9" * 64}))
    with pytest.raises(DataError, match="is of another model than the measurements: .*weights 999999999999"):
        evaluate_run(EvaluateConfig(run, threshold="calibrated"))


def test_exported_weights_are_calibrated_where_they_lie(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    export_checkpoint(tmp_path, load_checkpoint(held_out))
    files = {path.name for path in tmp_path.iterdir()}
    made = calibrate(CalibrateConfig(tmp_path, synthetic, (3600,), fps=25, relative=True, accelerator="cpu"))
    (new,) = {path.name for path in tmp_path.iterdir()} - files
    assert re.fullmatch(r"usual-[0-9a-f]{16}\.safetensors", new)
    passed_on = made.as_dict() | {"data": synthetic.name}  # where it lay is nobody's business
    assert load_checkpoint(tmp_path).calibration == json.loads(json.dumps(passed_on))
    export_checkpoint(tmp_path, load_checkpoint(held_out))  # the same weights once more
    assert load_checkpoint(tmp_path).calibration is not None
    usual = Usual.of(load_checkpoint(tmp_path), tmp_path)
    assert usual is not None
    assert usual.identity == made.usual
    score(ScoreConfig(tmp_path, synthetic, out=tmp_path / "measurements.npz", accelerator="cpu"))
    detection = evaluate_run(EvaluateConfig(tmp_path, threshold="calibrated")).detection
    assert detection is not None
    assert detection.rule.threshold == made.thresholds[0].threshold


def test_a_model_that_was_trained_on_meanwhile_keeps_its_weights(held_out: Path, tmp_path: Path) -> None:
    run = shutil.copytree(held_out, tmp_path / "run")
    measured = load_checkpoint(run)
    save_checkpoint(run / "checkpoint.safetensors", replace(measured, step=measured.step + 1))
    with pytest.raises(CheckpointError, match="was trained on while it was measured; calibrate it again"):
        save_calibration(run, measured, {}, {})
    assert load_checkpoint(run).step == measured.step + 1


def test_video_of_another_rate_than_the_calibration(held_out: Path, tmp_path: Path) -> None:
    run = shutil.copytree(held_out, tmp_path / "run")
    measured = load_measurements(run)
    save_measurements(run / "measurements.npz", replace(measured, protocol={**measured.protocol, "rates": [10.0]}))
    with pytest.warns(UserWarning, match="for 25 frames a second, but there are 10: expect 0.4 times as many"):
        detection = evaluate_run(EvaluateConfig(run, threshold="calibrated")).detection
    assert detection is not None
    assert detection.fps == 10


def test_a_run_goes_on_by_its_own_hold_out(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    run = shutil.copytree(held_out, tmp_path / "run")
    with pytest.raises(ConfigError, match="began with hold_out 0.25 and cannot go on with 0"):
        train(TrainConfig(synthetic, run, **{**HELD_OUT, "hold_out": 0, "resume": True}))
    old = {name: value for name, value in load_checkpoint(run).training.items() if name != "hold_out"}
    check_resumable(TrainConfig(synthetic, run, **{**HELD_OUT, "hold_out": 0}), old)
