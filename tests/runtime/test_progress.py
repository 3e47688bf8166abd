"""What long work tells, on the terminal and in a log file."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import mnad.runtime.progress
import pytest
from mnad.cli import main
from mnad.models.memory_health import MemoryHealth
from mnad.runtime.errors import DataError, MnadError
from mnad.runtime.progress import FrameProgress, log_to, print_line, track
from mnad.training.progress import TrainingProgress


@pytest.fixture
def every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnad.runtime.progress, "LOG_EVERY", 0.0)


@pytest.mark.usefixtures("every_time")
def test_a_log_tells_how_far_work_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with log_to(tmp_path / "run" / "train.log"):
        print_line("going on with rtsp://admin:secret@gate/1")
        assert list(track(range(3), "drawing", 3)) == [0, 1, 2]
        with FrameProgress("scoring frames", 40) as bar:
            bar.advance(10)
        with TrainingProgress(2, 4) as progress:
            progress.advance(1, lambda: {"loss": 0.25, "psnr": 20.0})
            progress.finish_epoch(1, {"loss": 0.25, "psnr": 20.0}, 3.0, None)
    print_line("after it")
    log = (tmp_path / "run" / "train.log").read_text()
    for words in (
        "going on with rtsp://***@gate/1",
        "drawing: 2 of 3,",
        "scoring frames: 10 of 40,",
        "steps of this epoch: 1 of 4,",
        "loss 0.2500  PSNR 20.00 dB",
        "epoch 1/2  loss 0.25000",
    ):
        assert words in log
    assert "after it" not in log
    assert "secret" not in log + capsys.readouterr().out
    with log_to(tmp_path / "run" / "train.log"):
        print_line("a second time")
    assert (tmp_path / "run" / "train.log").read_text().startswith(log)


def test_a_log_tells_why_work_ended(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), log_to(tmp_path / "a.log"):
        raise KeyboardInterrupt
    assert "ended by KeyboardInterrupt" in (tmp_path / "a.log").read_text()
    with pytest.raises(MnadError), log_to(tmp_path / "b.log"):
        raise MnadError("the loss is no longer finite")
    assert "the loss is no longer finite" in (tmp_path / "b.log").read_text()
    with pytest.raises(DataError), log_to(tmp_path / "c.log"):
        raise DataError("no such folder")
    assert not (tmp_path / "c.log").exists()
    assert logging.getLogger("mnad").handlers == []


def test_one_warning_of_the_memory_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    health = MemoryHealth(2, 1.5, 0.1, 0.999, 1.0, 0.0, (0.5, 0.5, 0.0))
    means = {"loss": 0.1, "psnr": 20.0, "compactness": 0.1, "separateness": 0.1}
    with TrainingProgress(3, 1) as progress:
        for epoch in range(1, 4):
            progress.finish_epoch(epoch, means, 1.0, health)
        progress.finish(health)
    shown = capsys.readouterr().out
    assert shown.count("warning") == 1
    assert "items in no use: 2 of 3; positional share 0.999" in shown


def test_a_password_in_an_address_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "rtsp://admin:secret@camera/1"]) == 2
    assert main(["train", "--data", "rtsp://admin:secret@camera/1", "--out", "run"]) == 2
    shown = capsys.readouterr()
    assert "***@camera/1" in shown.err
    assert "secret" not in shown.out + shown.err


def test_long_work_leaves_a_log(trained: Path) -> None:
    assert "epoch 2/2" in (trained / "train.log").read_text()
    assert "frames/s on" in (trained / "measurements.log").read_text()


def test_a_log_has_the_warnings(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="frame 3 of video 01 is missing"), log_to(tmp_path / "a.log"):
        warnings.warn("frame 3 of video 01 is missing", stacklevel=1)
    assert "warning: frame 3 of video 01 is missing" in (tmp_path / "a.log").read_text()
    with pytest.warns(UserWarning, match="after it"):
        warnings.warn("after it", stacklevel=1)
    assert "after it" not in (tmp_path / "a.log").read_text()
