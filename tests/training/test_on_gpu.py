"""Training on a GPU: fast ways compute what the plain one does, nothing waits, runs go on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.measurements import load_measurements
from mnad.pipeline.score import ScoreConfig, score
from mnad.runtime.errors import Interrupted
from mnad.training import TrainConfig, train
from mnad.training.stopping import StopRequests

pytestmark = pytest.mark.cuda
FAST = {"precision": "bf16-mixed", "cuda_graphs": True, "device_cache": True}


def config(data: Path, out: Path, **options: object) -> TrainConfig:
    usual = {"size": 32, "width": 8, "epochs": 4, "learning_rate": 2e-3, "accelerator": "cuda"}
    return TrainConfig(data, out, **{**usual, **options})  # type: ignore[arg-type]


def losses(run: Path) -> list[float]:
    lines = (run / "curves" / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("loss")
    return [float(line.split(",")[column]) for line in lines[1:]]


@pytest.mark.parametrize(
    "options",
    [
        {"cuda_graphs": True},
        {"device_cache": True},
        {"precision": "bf16-mixed"},
        FAST,
        FAST | {"compile": True},
    ],
    ids=lambda options: "-".join(options),
)
def test_every_way_learns_alike(options: dict[str, object], synthetic: Path, tmp_path: Path) -> None:
    train(config(synthetic, tmp_path / "plain"))
    train(config(synthetic, tmp_path / "fast", **options))
    plain, fast = losses(tmp_path / "plain"), losses(tmp_path / "fast")
    # Later on rounding has made other networks of them, which learn as well.
    assert fast[0] == pytest.approx(plain[0], rel=0.05)
    assert fast[-1] < 0.25 * fast[0]
    assert plain[-1] < 0.25 * plain[0]
    items = load_checkpoint(tmp_path / "fast").weights["memory.items"]
    assert items.dtype == torch.float32
    torch.testing.assert_close(items.norm(dim=1), torch.ones(10))


def test_a_run_by_graphs_goes_on(synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agree = StopRequests.agreed
    monkeypatch.setattr(StopRequests, "agreed", lambda self, step: step == 25)
    with pytest.raises(Interrupted):
        train(config(synthetic, tmp_path, **FAST))
    monkeypatch.setattr(StopRequests, "agreed", agree)
    train(config(synthetic, tmp_path, **FAST, resume=True))
    assert load_checkpoint(tmp_path).epoch == 4
    measured = load_measurements(score(ScoreConfig(tmp_path, synthetic)))
    assert len(measured) > 0


@pytest.mark.parametrize("options", [{}, {"device_cache": True}, FAST], ids=["plain", "device-cache", "fast"])
def test_no_step_waits_for_the_gpu(
    options: dict[str, object], synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    def watch(self: object, step: int) -> bool:
        steps.append(step)
        # After the first steps have compiled and recorded, before the end of an epoch, which logs.
        torch.cuda.set_sync_debug_mode("error" if 6 <= step < 15 else "default")
        return False

    monkeypatch.setattr(StopRequests, "agreed", watch)
    try:
        train(config(synthetic, tmp_path, epochs=1, **options))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert steps[-1] >= 15
