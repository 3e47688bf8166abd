from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.cli import COMMANDS, main
from mnad.data import SyntheticSpec
from mnad.data.store import open_store
from mnad.reproduction import demo as demo_module
from mnad.reproduction.demo import demo

from tests.data.field import write_pictures

SMALL = ["--size", "32", "--width", "4", "--accelerator", "cpu"]


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def mnad(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mnad.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


def test_without_a_command_it_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    shown = capsys.readouterr().out
    assert all(f"mnad {name}" in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(name, "--help")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f"Example: mnad {name}" in shown
    assert "help unavailable" not in shown.lower()


def test_the_help_of_every_option_says_something(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("train", "--help")
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("max-all (released code)", "64 as published", "(type: int, default: 60)", "prediction-no-memory"):
        assert words in shown


def test_from_nothing_to_an_auc(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "circles", tmp_path / "run"
    sizes = ["--size", 32, "--radius", 30, "--speed", 16, "--fast", 32, "--frames", 24, "--objects", 1]
    assert run("synth", data, *sizes, "--train-videos", 1, "--test-videos", 1) == 0
    assert run("train", "--data", data, "--out", out, *SMALL, "--epochs", 1, "--batch-size=8") == 0
    assert load_checkpoint(out).training["batch_size"] == 8
    assert run("score", out, "--data", data, "--accelerator", "cpu") == 0
    capsys.readouterr()

    assert run("evaluate", out) == 0
    table = capsys.readouterr().out
    assert "lambda 0.6" in table
    assert "per-video" in table or "per video" in table

    assert run("evaluate", out, "--lambda", 0.25, "--json") == 0
    evaluation = json.loads(capsys.readouterr().out)
    assert evaluation["score_weight"] == 0.25
    assert evaluation["frames"] == 3 * 20
    assert 0 <= evaluation["auc"] <= 1


def test_options_from_a_file_and_from_the_line(synthetic: Path, tmp_path: Path) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(f"data: {synthetic}\nout: {tmp_path / 'run'}\nsize: 32\nwidth: 4\nepochs: 3\naccelerator: cpu\n")
    assert run("train", "--config", config, "--epochs", 1) == 0
    checkpoint = load_checkpoint(tmp_path / "run")
    assert (checkpoint.epoch, checkpoint.training["width"]) == (1, 4)


def test_a_file_has_options_by_the_names_that_help_shows(
    synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "train.yaml"
    lines = [f"data: {synthetic}", f"out: {tmp_path / 'run'}", "size: 32", "width: 4", "epochs: 1", "accelerator: cpu"]
    config.write_text("\n".join([*lines, "batch-size: 8", "no-resume: true", "no_overwrite: false"]))
    assert run("train", "--config", config) == 0
    trained = load_checkpoint(tmp_path / "run").training
    assert (trained["batch_size"], trained["resume"], trained["overwrite"]) == (8, False, True)
    for text, words in [
        ("size: [", "cannot be read as YAML"),
        ("- size", "NAME: VALUE"),
        ("size: 8\nno_size: 1", "size"),
    ]:
        config.write_text(text)
        with pytest.raises(SystemExit) as stop:
            run("train", "--config", config)
        assert stop.value.code == 2
        assert words in capsys.readouterr().err


def test_a_folder_called_as_a_command(held_out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(held_out, tmp_path / "calibrate")
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", "calibrate", "--threshold", "calibrated", "--false-alarms-per-hour", 3600) == 0


@pytest.mark.parametrize("levels", [("--levels", "7000,9000"), ("--levels=7000,9000",), ("--levels", "[7000, 9000]")])
def test_several_values_as_people_write_them(levels: tuple[str, ...], tmp_path: Path) -> None:
    frames = [np.full((32, 32), 7800 + 20 * index, np.uint16) for index in range(6)]
    write_pictures(tmp_path / "thermal", [f"{index}.png" for index in range(6)], frames)
    assert run("prepare", tmp_path / "thermal", "--out", tmp_path / "store", "--size", 32, *levels) == 0
    assert open_store(tmp_path / "store").levels == (7000, 9000)
    assert run("synth", tmp_path / "one", "--size", 32, "--frames", 30, "--kinds", "spatial") == 0
    assert run("synth", tmp_path / "two", "--size", 32, "--frames", 30, "--kinds", "spatial,temporal") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prepare", "DATA", "--levels", "7000"], "levels"),
        (["train", "--data", "DATA", "--out", "OUT", "--epoch-count", "1"], "epoch_count"),
        (["train", "--data", "DATA", "--out", "OUT", "--preset", "predict"], "preset"),
        (["train", "--data", "DATA", "--out", "OUT", "--size", "large"], "size"),
        (["train", "--out", "OUT"], "data"),
        (["detect"], "detect"),
    ],
)
def test_wrong_options(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_faults_of_the_input_end_with_2_and_leave_nothing(
    synthetic: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    mislabelled = shutil.copytree(synthetic, tmp_path / "mislabelled")
    labels = next(mislabelled.glob("frame_labels_*.npy"))
    np.save(labels, np.load(labels)[..., :-3])
    truncated = shutil.copytree(synthetic, tmp_path / "truncated")
    image = sorted((truncated / "training" / "frames").glob("*/*"))[5]
    image.write_bytes(image.read_bytes()[:100])
    pickled = tmp_path / "pickled.pth"
    pickled.write_bytes(b"PK\x03\x04 weights")

    out = tmp_path / "out"
    for arguments, words in [
        (["train", "--data", tmp_path / "nowhere", "--out", out, *SMALL], "nowhere"),
        (["train", "--data", empty, "--out", out, *SMALL], "empty"),
        (["inspect", tmp_path / ("n" * 300)], "File name too long"),  # as for whatever the system refuses
        (["train", "--data", truncated, "--out", out, *SMALL], image.name),
        (["train", "--data", synthetic, "--out", out, "--size", 30, "--accelerator", "cpu"], "multiple of 8"),
        (["train", "--data", synthetic, "--out", out, *SMALL, "--epochs", 0], "epochs must be positive, got 0"),
        (["score", trained, "--data", mislabelled, "--accelerator", "cpu"], "labels"),
        (["score", pickled, "--data", synthetic], "not a checkpoint"),
        (["evaluate", empty], "measurements"),
        (["synth", synthetic], "exists already"),
    ]:
        before = sorted(path for path in tmp_path.rglob("*") if out not in [path, *path.parents])
        assert run(*arguments) == 2, arguments
        error = capsys.readouterr().err
        assert words in error, (arguments, error)
        assert error.startswith(f"mnad {arguments[0]}: ")
        assert sorted(path for path in tmp_path.rglob("*") if out not in [path, *path.parents]) == before
        assert not list(out.rglob("*.safetensors")) + list(out.rglob("*.tmp"))


def test_a_label_of_the_wrong_length_names_the_video(synthetic: Path, trained: Path, tmp_path: Path) -> None:
    data = shutil.copytree(synthetic, tmp_path / "data")
    video = sorted((data / "testing" / "frames").iterdir())[-1]
    last = sorted(video.iterdir())[-1]
    last.unlink()
    result = mnad("score", trained, "--data", data, "--accelerator", "cpu")
    assert result.returncode == 2
    assert video.name in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unwritable_folder(synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run("train", "--data", synthetic, "--out", tmp_path / "file" / "run", *SMALL) == 2
    assert "cannot write" in capsys.readouterr().err


def test_what_the_system_refuses_shows_no_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rtsp:").mkdir()  # so that the system comes to the name
    assert run("inspect", tmp_path / f"rtsp:/admin:secret{'n' * 300}@camera") == 2
    error = capsys.readouterr().err
    assert "File name too long" in error
    assert "secret" not in error


def test_a_full_disk_leaves_what_was_there(synthetic: Path, trained: Path, tmp_path: Path) -> None:
    out = shutil.copytree(trained, tmp_path / "run")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    # A limit on the size of files fails writes the way a full disk does.
    limited = [
        "import resource, sys",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))",
        "from mnad.cli import main",
        "sys.exit(main(sys.argv[1:]))",
    ]
    command = [
        sys.executable,
        "-c",
        "\n".join(limited),
        "train",
        "--data",
        synthetic,
        "--out",
        out,
        "--epochs",
        "3",
        "--learning-rate",
        "2e-3",
    ]
    result = subprocess.run([*map(str, command), *SMALL, "--resume"], capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert "cannot write" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(out.rglob("*.tmp"))
    assert (out / "checkpoint.safetensors").read_bytes() == before[out / "checkpoint.safetensors"]


def test_ctrl_c_leaves_a_usable_checkpoint(synthetic: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "mnad.cli", "train", "--data", synthetic, "--out", out, *SMALL, "--epochs", "500"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert 0 < load_checkpoint(out).step < 500 * 18
    assert run("score", out, "--data", synthetic, "--accelerator", "cpu") == 0


def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = SyntheticSpec(size=32, radius=30, speed=16, fast=32, train_videos=1, test_videos=1, frames=24, objects=1)
    scale = replace(demo_module.SCALE, size=32, width=4, epochs={"synthetic": 1}, synthetic=spec)
    monkeypatch.setattr(demo_module, "SCALE", scale)
    assert run("demo", "--out", tmp_path / "demo") == 0
    shown = capsys.readouterr().out
    assert all(kind in shown for kind in ("spatial", "temporal", "spatio-temporal"))
    assert [line.split(":")[0] for line in shown.splitlines() if "training for" in line] == [
        "1/2 prediction with memory", "2/2 reconstruction with memory",
    ]  # fmt: skip
    # Memories so small leave items unused: one line says so, and the logs of the runs say all that was left out here.
    assert len([line for line in shown.splitlines() if "the memory of" in line]) == 1
    assert not any(word in shown for word in ("warning", "samples/s", "left out"))
    assert all("epoch 1/1" in log.read_text() for log in (tmp_path / "demo" / "runs").glob("*/train.log"))
    assert (tmp_path / "demo" / "demo.png").stat().st_size > 10_000
    page = tmp_path / "demo" / "report.html"
    assert page.as_uri() in shown
    assert "prediction" in page.read_text()
    saved = json.loads((tmp_path / "demo" / "demo.json").read_text())
    assert saved.keys() == {"prediction", "reconstruction"}

    assert demo(tmp_path / "demo") == saved
    assert "training for" not in capsys.readouterr().out  # it had all been done
