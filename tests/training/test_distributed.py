"""Two processes on the CPU (gloo) do what one does with batches twice as large."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mnad.artifacts.checkpoint import load_checkpoint

from tests.training.test_training import curves

PROGRAM = Path(__file__).with_name("frozen.py")


def run(*command: object) -> None:
    result = ended(*command)
    assert result.returncode == 0, result.stderr[-3000:]


def ended(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def of_two_ranks(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks that nothing has stopped."""
    out = tmp_path_factory.mktemp("ranks") / "two"
    run(sys.executable, PROGRAM, synthetic, out, 1, 2, 3, 5e-4)
    return out


def test_two_ranks_equal_one_large_batch(of_two_ranks: Path, synthetic: Path, tmp_path: Path) -> None:
    run(sys.executable, PROGRAM, synthetic, tmp_path / "one", 1, 1, 6, 5e-4)
    one, two = load_checkpoint(tmp_path / "one"), load_checkpoint(of_two_ranks)
    assert (one.epoch, one.step) == (two.epoch, two.step) == (2, 24)
    # After 24 steps of Adam the weights differ, too, and rounding has grown.
    torch.testing.assert_close(two.weights["memory.items"], one.weights["memory.items"], rtol=0, atol=1e-5)
    for ours, theirs in zip(curves(tmp_path / "one"), curves(of_two_ranks), strict=True):
        for name in ("loss", "pixel", "compactness", "separateness", "usage_perplexity", "positional_share"):
            assert theirs[name] == pytest.approx(ours[name], rel=1e-3), name


def test_updates_of_two_ranks_equal_those_of_one_large_batch(synthetic: Path, tmp_path: Path) -> None:
    """With weights that stay where they are, 24 updates differ by rounding alone."""
    run(sys.executable, PROGRAM, synthetic, tmp_path / "one", 1, 1, 6, 1e-12)
    run(sys.executable, PROGRAM, synthetic, tmp_path / "two", 1, 2, 3, 1e-12)
    one, two = (load_checkpoint(tmp_path / name).weights["memory.items"] for name in ("one", "two"))
    torch.testing.assert_close(two, one, rtol=0, atol=1e-6)


def test_torchrun_and_an_uneven_last_batch(synthetic: Path, tmp_path: Path) -> None:
    options = ["--size", 32, "--width", 4, "--epochs", 1, "--accelerator", "cpu", "--devices", 2, "--batch-size", 5]
    command = ["train", "--data", synthetic, "--out", tmp_path / "run", *options]
    run(
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "mnad.cli", *command
    )
    # 72 windows: 7 whole batches of 2 x 5, and 2 windows over.
    assert load_checkpoint(tmp_path / "run").step == 7
    assert len(curves(tmp_path / "run")) == 1


def test_stopped_in_the_middle_of_an_epoch_two_ranks_go_on(of_two_ranks: Path, synthetic: Path, tmp_path: Path) -> None:
    for event in ("stop", "resume"):
        run(sys.executable, PROGRAM, synthetic, tmp_path / "stopped", 1, 2, 3, 5e-4, event)
    whole, stopped = curves(of_two_ranks), curves(tmp_path / "stopped")
    assert len(whole) == len(stopped) == 2
    for name in ("loss", "pixel", "compactness", "separateness", "usage_perplexity", "positional_share"):
        assert stopped[1][name] == pytest.approx(whole[1][name], rel=1e-5), name


def test_one_rank_that_diverges_ends_all_and_the_checkpoint_stays(synthetic: Path, tmp_path: Path) -> None:
    result = ended(sys.executable, PROGRAM, synthetic, tmp_path / "run", 1, 2, 3, 5e-4, "diverge")
    assert result.returncode != 0
    assert "the loss was not finite at step 24, in epoch 2" in result.stderr
    assert load_checkpoint(tmp_path / "run").epoch == 1
