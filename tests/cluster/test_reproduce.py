"""An experiment whose parts the devices of a Ray cluster share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mnad.reproduction import ReproduceConfig, reproduce
from mnad.reproduction.scale import SCALES

from tests.cluster.nodes import ray_nodes
from tests.reproduction.test_reproduce import TINY

pytest.importorskip("ray")


def test_two_nodes_give_what_one_machine_gives(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SCALES, "small", TINY)
    config = ReproduceConfig("table6", tmp_path / "one", (f"ped2={synthetic}",), "small", accelerator="cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as each node has; gradients are summed otherwise by two
    try:
        (theirs,) = reproduce(config)
    finally:
        torch.set_num_threads(threads)
    capsys.readouterr()
    with ray_nodes(2) as cluster:
        (ours,) = reproduce(replace(config, out=tmp_path / "two", engine="ray", address=cluster.address))
    assert "training: " not in capsys.readouterr().out  # by this process
    for row, other in zip(ours.rows, theirs.rows, strict=True):
        assert row == pytest.approx(other, rel=1e-6, nan_ok=True) or row == other
    assert len(list((tmp_path / "two" / "runs").iterdir())) == len(list((tmp_path / "one" / "runs").iterdir()))
