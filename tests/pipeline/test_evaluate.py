"""``mnad evaluate`` and ``mnad calibrate``, from files to tables."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.maps import FrameMaps, maps_beside, save_maps
from mnad.artifacts.measurements import load_measurements, save_measurements
from mnad.cli import main
from mnad.evaluation import abnormality, evaluate
from mnad.pipeline.evaluate import EvaluateConfig, evaluate_run
from mnad.pipeline.score import ScoreConfig, score
from mnad.runtime.errors import ConfigError, DataError
from mnad.training import TrainConfig, train

from tests.evaluation.samples import measurements
from tests.sizes import TINY

BY_TRAINING: dict[str, Any] = {"score_weight": 1.0, "normalisation": "train"}


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def saved(path: Path, **options: object) -> Path:
    save_measurements(path, measurements(**options))  # type: ignore[arg-type]
    return path


def test_every_choice_is_printed_and_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = saved(tmp_path / "m.npz"), tmp_path / "out"
    options = ["--lambda", 0.3, "--normalisation", "causal", "--smoothing", "median", "--smoothing-width", 3]
    alarms = ["--threshold", 0.7, "--hysteresis", 0.1, "--merge-gap", 2, "--min-length", 2, "--fps", 10]
    assert run("evaluate", file, *options, *alarms, "--sweep", "--bootstrap", 50, "--out", out) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "lambda 0.3 (given), normalised causal, smoothed median by 3 frames",
        "threshold 0.7000 (given), hysteresis 0.1, merge gap 2, shortest event 2",
        "videos drawn 50 times",
    ):
        assert words in shown
    assert shown.count("(chosen on test)") == 2

    stored = json.loads((out / "evaluation.json").read_text())
    assert stored["chosen_on_test"] == ["eer_threshold", "sweep.best_weight", "sweep.best_auc"]
    kept = {name: stored[name] for name in ("score_weight", "normalisation", "smoothing", "smoothing_width")}
    assert kept == {"score_weight": 0.3, "normalisation": "causal", "smoothing": "median", "smoothing_width": 3}
    assert stored["detection"]["rule"] == {"threshold": 0.7, "hysteresis": 0.1, "merge_gap": 2, "min_length": 2}
    assert stored["interval"]["resamples"] == 50
    assert stored["protocol"]["preset"] == "prediction"

    outcome = evaluate_run(
        EvaluateConfig(file, score_weight=0.3, normalisation="causal", smoothing="median", smoothing_width=3)
    )
    frames = table(out / "frames.csv")
    assert [float(frame["score"]) for frame in frames] == outcome.scores.tolist()
    assert [(frame["video"], frame["frame"]) for frame in frames][18:22] == [
        ("01", "22"),
        ("01", "23"),
        ("02", "4"),
        ("02", "5"),
    ]
    assert outcome.evaluation is not None
    videos = {video["video"]: float(video["auc"]) for video in table(out / "videos.csv")}
    assert videos == outcome.evaluation.auc_by_video
    assert [float(row["auc"]) for row in table(out / "sweep.csv")] == stored["sweep"]["aucs"]
    events = table(out / "events.csv")
    assert len(events) == len(stored["detection"]["alarms"]) > 0
    inside = sum(int(event["last"]) - int(event["first"]) + 1 for event in events)
    assert inside == sum(frame["alarm"] == "1" for frame in frames)


def test_json_equals_the_file_and_the_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path / "m.npz")
    assert run("evaluate", file, "--json", "--out", tmp_path / "out") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert printed["auc"] == evaluate(load_measurements(file)).auc
    assert (printed["sweep"], printed["interval"], printed["pixels"], printed["detection"]) == (None,) * 4
    assert "chosen on test" not in printed


def test_alarms_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    m = measurements()
    unlabelled = type(m)(**{**vars(m), "labels": None})
    save_measurements(tmp_path / "m.npz", unlabelled)
    assert run("evaluate", tmp_path / "m.npz") == 2
    assert "carry no labels" in capsys.readouterr().err
    assert run("evaluate", tmp_path / "m.npz", "--threshold", 0.5, "--out", tmp_path / "out") == 0
    assert "events" in capsys.readouterr().out
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert "auc" not in stored
    assert stored["detection"]["metrics"] is None
    assert len(table(tmp_path / "out" / "events.csv")) == len(stored["detection"]["alarms"]) > 0


def test_normalised_by_the_training_set(tmp_path: Path) -> None:
    file = saved(tmp_path / "m.npz")
    with pytest.raises(DataError, match="measurements-training.npz; make them with: .* --split training"):
        evaluate_run(EvaluateConfig(file, **BY_TRAINING))
    training = saved(tmp_path / "measurements-training.npz", seed=1, split="training")
    outcome = evaluate_run(EvaluateConfig(file, **BY_TRAINING))
    np.testing.assert_array_equal(
        outcome.scores, evaluate_run(EvaluateConfig(file, **BY_TRAINING, training=training)).scores
    )
    m, t = load_measurements(file), load_measurements(training)
    np.testing.assert_allclose(outcome.scores, (t.psnr.max() - m.psnr) / np.ptp(t.psnr))
    other = saved(tmp_path / "other.npz", weights="another", split="training")
    with pytest.raises(
        DataError, match="other.npz is of another model than the measurements: .*weights another, not .*weights made up"
    ):
        evaluate_run(EvaluateConfig(file, **BY_TRAINING, training=other))
    with pytest.raises(DataError, match="m.npz is not of the training split"):
        evaluate_run(EvaluateConfig(file, **BY_TRAINING, training=file))
    with pytest.raises(ConfigError, match="give --normalisation train, too"):
        EvaluateConfig(file, training=training)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hysteresis": 0.1}, "are of events: give --threshold"),
        ({"fps": 10}, "fps is of events: give --threshold"),
        ({"false_alarms_per_hour": 1, "threshold": 0.5}, "chooses among calibrated thresholds"),
        ({"smoothing_width": 3}, "give --smoothing, too"),
        ({"bootstrap": -1}, "bootstrap must not be negative"),
        ({"threshold": 0.5, "min_length": 0}, "min_length must be at least 1"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EvaluateConfig(Path("run"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [["--normalisation", "minmax"], ["--smoothing", "box"], ["--threshold", "high"], ["--lambda", "some"]],
)
def test_unknown_names(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run("evaluate", saved(tmp_path / "m.npz"), *arguments)
    assert stop.value.code == 2
    assert arguments[0].removeprefix("--") in capsys.readouterr().err


def test_a_file_cut_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path / "m.npz")
    whole = file.read_bytes()
    for part in (100, len(whole) // 2, len(whole) - 10):
        file.write_bytes(whole[:part])
        assert run("evaluate", file) == 2
        assert "is not a file of measurements" in capsys.readouterr().err


def test_other_labels_and_other_data(trained: Path, synthetic: Path, tmp_path: Path) -> None:
    run_folder = shutil.copytree(trained, tmp_path / "run")
    m = load_measurements(run_folder)
    events = tmp_path / "labels.csv"
    events.write_text(f"video,first,last\n{m.videos[1]},10,19\n")
    outcome = evaluate_run(EvaluateConfig(run_folder, labels=str(events)))
    assert outcome.evaluation is not None
    assert outcome.evaluation.abnormal == 10
    assert outcome.measurements.protocol["labels"] == "labels.csv"
    np.testing.assert_array_equal(outcome.scores, abnormality(m))

    events.write_text(f"video,first,last\n{m.videos[1]},10,4000\n")
    with pytest.raises(DataError, match=f"video {m.videos[1]} has the frames 0 to 39, but an event from 10 to 4000"):
        evaluate_run(EvaluateConfig(run_folder, labels=str(events)))
    longer = shutil.copytree(synthetic, tmp_path / "longer")
    shutil.rmtree(longer / "testing" / "masks")
    for labels in longer.glob("frame_labels_*"):
        labels.unlink()
    frames = longer / "testing" / "frames" / m.videos[-1]
    last = sorted(frames.iterdir())[-1]
    shutil.copy(last, frames / f"{int(last.stem) + 1:0{len(last.stem)}d}{last.suffix}")
    with pytest.raises(DataError, match=f"video {m.videos[-1]} end with frame 39, but the data have 41 frames"):
        evaluate_run(EvaluateConfig(run_folder, data=longer))


def test_pixels_where_there_are_maps_and_masks(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder = shutil.copytree(trained, tmp_path / "run")
    file = run_folder / "measurements.npz"
    m = load_measurements(file)
    assert evaluate_run(EvaluateConfig(run_folder)).pixels is None
    error = np.random.default_rng(0).uniform(0, 1, (len(m), 16, 16)).astype(np.float16)
    pictures = np.zeros((len(m), 16, 16, 1), np.uint8)
    save_maps(maps_beside(file), FrameMaps(error, None, pictures, pictures), m)
    pixels = evaluate_run(EvaluateConfig(run_folder)).pixels
    assert pixels is not None
    assert pixels.auc == pytest.approx(0.5, abs=0.05)
    assert (pixels.size, pixels.grid, pixels.frames) == (32, 16, len(m))
    assert run("evaluate", run_folder) == 0
    assert "pixel AUC" in capsys.readouterr().out

    save_maps(maps_beside(file), FrameMaps(error, None, pictures, pictures), replace(m, mse=m.mse * (1 + 1e-5)))
    assert evaluate_run(EvaluateConfig(run_folder)).pixels == pixels  # of the same pass, but for the last bits
    others = (
        replace(m, protocol={**m.protocol, "weights": "another"}),
        replace(m, videos=("another", *m.videos[1:])),
        replace(m, frame=m.frame + 1),
        replace(m, mse=m.mse * 1.1),
    )
    for other in others:
        save_maps(maps_beside(file), FrameMaps(error, None, pictures, pictures), other)
        with pytest.warns(UserWarning, match="no pixel AUC: .* of another pass than"):
            assert evaluate_run(EvaluateConfig(run_folder)).pixels is None
    m.protocol["data"] = str(tmp_path / "gone")
    save_measurements(file, m)
    with pytest.warns(UserWarning, match="no pixel AUC: the data are no longer at"):
        assert evaluate_run(EvaluateConfig(run_folder)).pixels is None


def test_calibrating_by_the_command(
    held_out: Path, synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder = shutil.copytree(held_out, tmp_path / "run")
    rates = ["--fps", 10, "--false-alarms-per-hour", "[1800,18000]"]
    assert (
        run("calibrate", run_folder, "--data", synthetic, *rates, "--accelerator", "cpu", "--smoothing", "causal") == 0
    )
    shown = capsys.readouterr().out
    parts = "lambda 0.8, P of box-7"
    for words in ("1800", "18000", "never trained on", parts, "causal by 3 frames", "10 a second"):
        assert words in " ".join(shown.split())
    before, after = load_checkpoint(held_out), load_checkpoint(run_folder)
    assert after.training == before.training
    assert before.calibration != after.calibration
    assert run("evaluate", run_folder, "--threshold", "calibrated", "--min-length", 2) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("calibrated for 1800 an hour", "precision", "normalised calibrated, smoothed causal", "events found"):
        assert words in shown


def test_a_recording_made_since_is_used_as_a_whole(
    trained: Path, synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not what the model was trained on, whatever was held out then; and nothing warns that it was."""
    run_folder = shutil.copytree(trained, tmp_path / "run")
    recording = synthetic / "testing" / "frames" / "01"
    assert run("calibrate", run_folder, "--data", recording, "--whole", "--fps", 25, "--accelerator", "cpu") == 0
    calibration = load_checkpoint(run_folder).calibration
    assert calibration is not None
    assert calibration["frames"] == len(list(recording.iterdir())) - 4
    assert calibration["trained_on"] is False
    assert "never trained on" in " ".join(capsys.readouterr().out.split())


def test_names_with_brackets_are_shown_as_they_are(
    tmp_path: Path, synthetic: Path, held_out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("[front]door", "yard[red]"):
        shutil.copytree(synthetic / "testing" / "frames" / "01", tmp_path / "set" / "testing" / "frames" / name)
    out = tmp_path / "m.npz"
    score(ScoreConfig(held_out, tmp_path / "set", out=out, accelerator="cpu"))
    capsys.readouterr()
    assert run("evaluate", out, "--threshold", 0) == 0
    shown = capsys.readouterr().out
    assert "[front]door" in shown
    assert "yard[red]" in shown


def test_a_grey_model_is_evaluated_on_the_store_that_it_was_scored_on(synthetic: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    train(TrainConfig(synthetic, tmp_path / "run", image_channels=1, cache=cache, **TINY, epochs=1))
    score(ScoreConfig(tmp_path / "run", synthetic, maps=True, cache=cache, accelerator="cpu"))
    stores = set(cache.iterdir())
    assert evaluate_run(EvaluateConfig(tmp_path / "run", cache=cache)).pixels is not None
    assert set(cache.iterdir()) == stores
