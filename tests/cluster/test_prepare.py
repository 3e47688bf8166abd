"""A clip store that the machines of a Ray cluster make is the one that a single machine makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mnad.cluster.shared_folder import shared_folder
from mnad.data.preparation import PrepareConfig
from mnad.data.store import Store, open_store
from mnad.pipeline.prepare import prepare_by
from mnad.runtime.errors import ConfigError, DataError

from tests.cluster.videos import write_videos


def by_ray(data: Path, out: Path, cluster: Any) -> Store:
    return prepare_by(PrepareConfig(data, out, 32, engine="ray", address=cluster.address))


def same_store(ours: Path, theirs: Path) -> None:
    one, other = open_store(ours), open_store(theirs)
    assert one.splits == other.splits
    assert not list(one.problems())
    for split in one.splits:
        a, b = one.clips(split), other.clips(split)
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(
            a.masks() if a.packed_masks is not None else 0, b.masks() if b.packed_masks is not None else 0
        )


def test_video_files(tmp_path: Path, cluster: Any) -> None:
    write_videos(tmp_path / "data" / "normal", 3)
    write_videos(tmp_path / "data" / "testing", 4, frames=11)
    by_ray(tmp_path / "data", tmp_path / "ours", cluster)
    prepare_by(PrepareConfig(tmp_path / "data", tmp_path / "theirs", 32))
    same_store(tmp_path / "ours", tmp_path / "theirs")
    assert not [left.name for left in tmp_path.iterdir() if left.name.startswith(".")]


def test_pictures_with_masks_and_labels(synthetic: Path, tmp_path: Path, cluster: Any) -> None:
    """Whose number of frames is known beforehand."""
    by_ray(synthetic, tmp_path / "ours", cluster)
    prepare_by(PrepareConfig(synthetic, tmp_path / "theirs", 32))
    same_store(tmp_path / "ours", tmp_path / "theirs")


def test_broken_videos_are_named_and_the_others_kept(tmp_path: Path, cluster: Any) -> None:
    """Broken at the end, so that looking at some frames shows nothing."""
    data, out = tmp_path / "data", tmp_path / "store"
    for number in range(6):
        folder = data / f"{number}"
        folder.mkdir(parents=True)
        for frame in range(20):
            pixels = np.full((16, 16), 10 * frame, np.uint8)
            (folder / f"{frame:02d}.pgm").write_bytes(b"P5 16 16 255\n" + pixels.tobytes())
    whole = {data / name: (data / name).read_bytes() for name in ("1/16.pgm", "4/16.pgm")}
    for file in whole:
        file.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"2 videos cannot be read, .*: 1: .*16.pgm is not an image.*; 4: .*16.pgm"):
        by_ray(data, out, cluster)
    records = sorted(file.name for file in tmp_path.rglob("*.json") if re.match(r"\d", file.name))
    assert records == ["00000.json", "00002.json", "00003.json", "00005.json"]
    assert not out.exists()


def test_a_folder_that_another_machine_does_not_see(tmp_path: Path) -> None:
    with shared_folder(tmp_path) as shared:
        shared.check()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=f"does not see {tmp_path} of the machine .* name a folder on storage"):
        shared.check()
