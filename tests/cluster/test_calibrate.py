"""A calibration whose video the devices of a Ray cluster measure."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.pipeline.calibrate import CalibrateConfig, calibrate
from mnad.runtime.errors import ConfigError, DataError

from tests.cluster.videos import write_videos


def test_the_thresholds_are_those_of_one_machine(trained: Path, tmp_path: Path, cluster: Any) -> None:
    """But for a broken video, which is left out by name, and one that is too short."""
    write_videos(tmp_path / "normal", 7, frames=80)
    write_videos(tmp_path / "normal", 1, frames=20)  # its tenth has no window
    run, other = (shutil.copytree(trained, tmp_path / name) for name in ("ray", "one"))
    here = CalibrateConfig(
        other, tmp_path / "normal", (3600, 36000), update="per-video", relative=True, accelerator="cpu"
    )
    with pytest.warns(UserWarning, match="no frame can be scored of videos"):
        theirs = calibrate(here)
    (tmp_path / "normal" / "broken.mp4").write_bytes(b"nothing")
    there = replace(here, run=run, engine="ray", address=cluster.address)
    with pytest.warns(UserWarning, match="video broken is left out: .*broken.mp4 is not a video"):
        ours = calibrate(there)
    assert ours == replace(theirs, data=ours.data)
    one, two = load_checkpoint(other), load_checkpoint(run)
    assert (one.usual["error"] == two.usual["error"]).all()


def test_what_cannot_be(trained: Path, tmp_path: Path, cluster: Any) -> None:
    write_videos(tmp_path / "normal", 2, frames=10)
    config = CalibrateConfig(trained, tmp_path / "normal", engine="ray", address=cluster.address)
    with pytest.raises(ConfigError, match="carried-over lets the items"):
        calibrate(config)
    with pytest.raises(DataError, match="the ends of none of the 2 videos could be measured"):
        calibrate(replace(config, update="none"))
