"""Scoring on a Ray cluster: videos from a real S3 server, and results to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mnad.artifacts.measurements import ARRAYS, load_measurements
from mnad.pipeline.score import ScoreConfig, score
from mnad.pipeline.score_videos import score_videos
from mnad.runtime.places import place

from tests.cluster.nodes import ray_nodes
from tests.cluster.videos import write_videos
from tests.servers import Bucket

pytest.importorskip("ray")


def test_videos_on_s3_and_results_there(
    trained: Path, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNAD_CACHE", str(tmp_path / "cache"))
    write_videos(tmp_path / "own" / "gate", 5)
    bucket.put_folder(tmp_path / "own", "cams/")
    data, out = place(f"{bucket.address}/cams"), place(f"{bucket.address}/results/all.npz")
    with ray_nodes(2) as cluster:
        config = ScoreConfig(trained, data, out=out, update="none", engine="ray", address=cluster.address)
        first, second = score_videos(config), score_videos(config)
    assert (first.computed, second.computed) == (5, 0)
    keys = bucket.keys()
    names = [f"results/all.videos/gate/v{number:02d}" for number in range(5)]
    assert [key.rpartition("-")[0] for key in keys if ".videos/" in key] == names
    ours = load_measurements(out)
    theirs = load_measurements(score(ScoreConfig(trained, tmp_path / "own", out=tmp_path / "one.npz", update="none")))
    assert ours.videos == theirs.videos
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
