"""Work with a deadline ends in time, keeps what was done, and goes on from there."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.reproduction import deadline as deadline_module
from mnad.reproduction import runner as runner_module
from mnad.reproduction.deadline import Deadline, TimeUpError, limit
from mnad.reproduction.published import PREDICTION
from mnad.reproduction.runner import MeasurementSpec, Runner, TrainingSpec
from mnad.runtime.errors import Interrupted

from .test_reproduce import TINY

TRAINING = TrainingSpec(PREDICTION, "ped2", folder="a-run")


@pytest.fixture
def runner(synthetic: Path, tmp_path: Path) -> Runner:
    return Runner(tmp_path, {"ped2": synthetic}, TINY, accelerator="cpu")


@pytest.fixture(scope="module")
def uninterrupted(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    runner = Runner(tmp_path_factory.mktemp("uninterrupted"), {"ped2": synthetic}, TINY, accelerator="cpu")
    runner.measured(MeasurementSpec(TRAINING))
    return runner


def hurried(runner: Runner, seconds: float) -> Runner:
    return replace(runner, deadline=Deadline(time.monotonic() + seconds, after_training=35, after_scoring=10))


def _hang(*_: object, **__: object) -> None:
    """Hangs as a library would that catches every Exception."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            time.sleep(1)
        except Exception:
            continue


def test_training_is_stopped_with_a_checkpoint_and_goes_on_as_if_it_had_not_been(
    runner: Runner, uninterrupted: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline_module, "SECONDS_BETWEEN_SIGNALS", 0.01)
    with pytest.raises(Interrupted, match=r"stopped after step \d+, in epoch"):
        hurried(runner, 0).measured(MeasurementSpec(TRAINING))
    stopped = load_checkpoint(runner.folder / "a-run").step
    assert 0 < stopped < load_checkpoint(uninterrupted.folder / "a-run").step
    assert not runner.is_trained(TRAINING)
    measured = hurried(runner, 600).measured(MeasurementSpec(TRAINING))
    assert runner.is_trained(TRAINING)
    np.testing.assert_array_equal(measured.psnr, uninterrupted.measured(MeasurementSpec(TRAINING)).psnr)


def test_training_that_does_not_stop_is_ended(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "train", _hang)
    monkeypatch.setattr(deadline_module, "GRACE", 0.3)
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeUpError, match="did not come to the end of a step"):
        hurried(runner, 0).trained(TRAINING)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_what_waits_for_another_process_is_ended_too(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline_module, "GRACE", 0.3)
    with runner_module.alone(runner.folder / "a-run"), pytest.raises(TimeUpError):
        hurried(runner, 0).trained(TRAINING)
    runner.trained(TRAINING)
    assert runner.is_trained(TRAINING)


def test_scoring_that_takes_too_long_leaves_no_measurements(
    uninterrupted: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = MeasurementSpec(TRAINING, "per-video")
    with monkeypatch.context() as patch:
        patch.setattr(runner_module, "score", _hang)
        with pytest.raises(TimeUpError, match="the time is up"):
            hurried(uninterrupted, 0.2).measured(spec)
    assert not uninterrupted.measurements_file(spec).exists()
    assert uninterrupted.measured(spec).protocol["update"] == "per-video"
    # What has been done takes no time.
    assert len(hurried(uninterrupted, -1).measured(spec)) > 0


@pytest.mark.parametrize(("left", "training", "scoring"), [(1000, 965, 990), (40, 30, 30), (4, 3, 3)])
def test_what_is_kept_back(left: float, training: float, scoring: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline_module.time, "monotonic", lambda: 100.0)
    deadline = Deadline(100 + left, after_training=35, after_scoring=10)
    for context, seconds in ((deadline.training, training), (deadline.scoring, scoring)):
        with context():
            assert signal.getitimer(signal.ITIMER_REAL)[0] == pytest.approx(seconds, abs=1)


def test_a_limit_lets_pass_what_is_in_time_and_what_fails() -> None:
    with limit(60):
        pass
    with pytest.raises(ValueError, match="its own"), limit(60):
        raise ValueError("its own")
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
