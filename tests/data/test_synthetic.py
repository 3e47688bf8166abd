from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mnad.data import SyntheticSpec, kinds_of, open_clips, write_synthetic
from mnad.data.synthetic import KINDS
from mnad.runtime.errors import ConfigError, DataError, OutputError

SPEC = SyntheticSpec(size=64, train_videos=2, test_videos=1, frames=50, kinds=KINDS)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_seed_repeats_every_byte(tmp_path: Path) -> None:
    for name, spec in {"one": SPEC, "same": SPEC, "other": replace(SPEC, seed=1)}.items():
        write_synthetic(tmp_path / name, spec)
    assert contents(tmp_path / "one") == contents(tmp_path / "same")
    assert contents(tmp_path / "one") != contents(tmp_path / "other")


def test_labels_are_where_the_masks_are(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "set", SPEC)
    clips = open_clips(tmp_path / "set", "testing", SPEC.size, progress=False)
    assert clips.frames.shape == (len(KINDS) * SPEC.frames, 64, 64, 1)
    assert clips.labels is not None
    masks = clips.masks()
    assert masks is not None
    assert np.array_equal(clips.labels, masks.any(axis=(1, 2)))
    for _, span in clips.videos():
        assert 0 < clips.labels[span].sum() < SPEC.frames
    # What is abnormal is drawn: under the mask the frame is bright.
    assert clips.frames.max(axis=3)[masks].mean() > 200
    assert kinds_of(tmp_path / "set") == {f"{i + 1:02d}": kind for i, kind in enumerate(KINDS)}


def centres(masks: np.ndarray) -> np.ndarray:
    """Centres of the object where it is wholly inside, by frame."""
    inside = masks.any(axis=(1, 2)) & ~masks[:, [0, -1]].any(axis=(1, 2)) & ~masks[:, :, [0, -1]].any(axis=(1, 2))
    return np.array([np.argwhere(mask).mean(axis=0) for mask in masks[inside]])


@pytest.mark.parametrize(
    ("kind", "speed"), [("spatial", 5), ("temporal", 10), ("spatio-temporal", 10), ("slow", 2.5), ("still", 0)]
)
def test_objects_move_at_their_speed(tmp_path: Path, kind: str, speed: float) -> None:
    write_synthetic(tmp_path / "set", SyntheticSpec(train_videos=1, test_videos=1, frames=120, kinds=(kind,)))  # type: ignore[arg-type]
    clips = open_clips(tmp_path / "set", "testing", 256, progress=False)
    masks = clips.masks()
    assert masks is not None
    steps = np.linalg.norm(np.diff(centres(masks), axis=0), axis=1)
    assert np.median(steps) == pytest.approx(speed, abs=0.4)
    area = np.median([mask.sum() for mask in masks if mask.any()])
    assert area == pytest.approx(400 if kind in ("spatial", "spatio-temporal") else 314, rel=0.15)


def test_scenes_differ_in_background_size_and_number(tmp_path: Path) -> None:
    spec = SyntheticSpec(size=128, train_videos=3, test_videos=3, frames=40, scenes=3, kinds=("spatial",), seed=1)
    write_synthetic(tmp_path / "set", spec)
    clips = open_clips(tmp_path / "set", "testing", 128, progress=False)
    masks = clips.masks()
    assert masks is not None
    empty, areas = [], []
    for _, span in clips.videos():
        empty.append(np.median(clips.frames[span], axis=0))  # objects pass, the background stays
        areas.append(max(mask.sum() for mask in masks[span]))
    assert np.abs(empty[0]).max() <= 2
    assert all(np.abs(empty[i] - empty[j]).mean() > 10 for i in range(3) for j in range(i))
    assert len(set(areas)) == 3
    training = open_clips(tmp_path / "set", "training", 128, progress=False)
    for (_, span), background in zip(training.videos(), empty, strict=True):
        assert np.abs(np.median(training.frames[span], axis=0) - background).mean() < 4


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_synthetic(tmp_path / "full", SPEC)
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_bad_specs() -> None:
    with pytest.raises(ConfigError, match="frames must be positive, got 0"):
        SyntheticSpec(frames=0)
    with pytest.raises(ConfigError, match="kinds must be among .* got odd"):
        SyntheticSpec(kinds=("odd",))  # type: ignore[arg-type]


def test_other_folders_have_no_kinds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a synthetic data set"):
        kinds_of(tmp_path)
