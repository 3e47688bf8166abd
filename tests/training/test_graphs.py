"""A training step that is recorded and replayed does what the same step does when it is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.runtime.errors import ConfigError, Interrupted
from mnad.training import TrainConfig, train
from mnad.training import graphs as graphs_module
from mnad.training import loop as loop_module
from mnad.training.graphs import WARM_UP_STEPS
from mnad.training.loop import StepResult
from mnad.training.stopping import StopRequests

TINY = {"size": 32, "width": 4, "learning_rate": 2e-3, "accelerator": "cpu"}


class Recorder:
    """Replays on a CPU as a graph would on a GPU: the same work on the same tensors, results where they first were."""

    def __init__(self) -> None:
        self.runs = self.replays = 0

    def run(self, work: Callable[[], StepResult]) -> StepResult:
        self.runs += 1
        return work()

    def record(self, work: Callable[[], StepResult]) -> StepResult:
        self.work, self.results = work, work()
        return self.results

    def replay(self) -> None:
        self.replays += 1
        if self.replays == 1:  # recording a graph does not run it, but here it has run already
            return
        again = self.work()
        for place, value in zip(self.results.losses, again.losses, strict=True):
            place.copy_(value)
        if self.results.nearest is not None and again.nearest is not None:
            self.results.nearest.copy_(again.nearest)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Lets a CPU take cuda_graphs."""
    made = Recorder()
    monkeypatch.setattr(loop_module, "_recorder", lambda fabric: made)
    return made


def config(data: Path, out: Path, **options: object) -> TrainConfig:
    return TrainConfig(data, out, **{**TINY, "epochs": 1, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", ["prediction", "reconstruction-no-memory", "temporal-denoising"])
def test_replays_train_as_steps_do(
    preset: str, synthetic: Path, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(config(synthetic, tmp_path / "replays", preset=preset, cuda_graphs=True))
    replays = load_checkpoint(tmp_path / "replays")
    assert recorder.runs == WARM_UP_STEPS
    assert recorder.replays == replays.step - WARM_UP_STEPS
    monkeypatch.setattr(graphs_module, "WARM_UP_STEPS", 1000)  # nothing but steps
    train(config(synthetic, tmp_path / "steps", preset=preset, cuda_graphs=True))
    steps = load_checkpoint(tmp_path / "steps")
    assert recorder.runs == WARM_UP_STEPS + steps.step
    assert all(torch.equal(value, steps.weights[name]) for name, value in replays.weights.items())
    assert all(torch.equal(value, steps.loop[name]) for name, value in replays.loop.items())


def test_a_run_goes_on_with_graphs_and_without(
    synthetic: Path, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    agree = StopRequests.agreed
    monkeypatch.setattr(StopRequests, "agreed", lambda self, step: step in (7, 12))
    for graphs in (True, False):
        with pytest.raises(Interrupted):
            train(config(synthetic, tmp_path, cuda_graphs=graphs, resume=not graphs))
    recorder.__init__()  # type: ignore[misc]
    monkeypatch.setattr(StopRequests, "agreed", agree)
    train(config(synthetic, tmp_path, cuda_graphs=True, resume=True))
    stored = load_checkpoint(tmp_path)
    assert (stored.epoch, stored.step, recorder.runs, recorder.replays) == (1, 18, WARM_UP_STEPS, 3)
    assert stored.optimizer is not None
    assert stored.optimizer["param_groups"][0]["lr"] == pytest.approx(2e-3)
    assert isinstance(stored.optimizer["param_groups"][0]["lr"], float)


def test_graphs_need_one_gpu(synthetic: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cuda_graphs needs a GPU, and the device is cpu"):
        train(config(synthetic, tmp_path, cuda_graphs=True))
    for options in ({"devices": 2}, {"precision": "16-mixed"}):
        with pytest.raises(ConfigError, match="cuda_graphs needs one device and no gradient scaler"):
            config(synthetic, tmp_path, cuda_graphs=True, **options)
