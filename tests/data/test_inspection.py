from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mnad.cli import main
from mnad.data import PrepareConfig, prepare
from mnad.data.inspection import Inspection, inspect

from tests.data import trees
from tests.data.trees import Clip, make_clip

CLIPS = [make_clip(6 + index, index, events=[(index, index + 2)]) for index in range(4)]


def named(clips: list[Clip]) -> dict[str, Clip]:
    return {f"{index:02d}": clip for index, clip in enumerate(clips, 1)}


def look(root: Path, **options: bool) -> Inspection:
    return inspect(root, progress=False, **options)  # type: ignore[arg-type]


def messages(inspection: Inspection, level: str) -> list[str]:
    return [problem.message for problem in inspection.problems if problem.level == level]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    trees.write_frames_layout(root, named(CLIPS[:2]), named(CLIPS), masks=True)
    np.save(root / "frame_labels_set.npy", np.concatenate([clip.labels for clip in CLIPS]))
    return root


def test_what_is_found(root: Path) -> None:
    found = look(root)
    assert found.usable
    assert found.layout == "frames"
    training, testing = found.splits
    assert (training.videos, training.frames, training.labels) == (2, 13, ())
    assert (testing.videos, testing.frames, testing.masked_videos, testing.grey) == (4, 30, 4, False)
    assert testing.resolutions == {"48 x 40": 4}
    assert (testing.labels[0].abnormal, testing.labels[0].differs_from_masks) == (12, 0)
    assert found.problems == ()


def test_labels_that_differ_from_the_masks(root: Path) -> None:
    np.save(root / "frame_labels_set.npy", np.zeros(30))
    assert look(root).splits[1].labels[0].differs_from_masks == 12


def test_every_fault_is_listed(root: Path) -> None:
    frames = root / "testing/frames"
    (frames / "01/003.png").write_bytes(b"")
    (frames / "02/001.png").unlink()
    shutil.copy(frames / "03/002.png", frames / "03/2.png")
    (frames / "04/002.png").write_bytes((frames / "04/002.png").read_bytes()[:-200])
    trees.write_images(frames / "05", [np.zeros((9, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)])
    (frames / "06").mkdir()
    found = look(root)
    assert not found.usable
    text = "\n".join(messages(found, "error"))
    for words in (
        "003.png is not an image",
        "video 02 has 6 frames but 7 masks",
        "002.png and 2.png are the same frame",
        "002.png is cut off",
        "video 05 has frames of several sizes: 8 x 9, 8 x 8",
        "video 06 has no frames",
        "30 labels for 32 frames",
    ):
        assert words in text
    assert messages(found, "warning") == ["video 02: 1 missing between 000.png and 002.png"]


def test_a_quick_look_decodes_first_frames_only(root: Path) -> None:
    (root / "testing/frames/01/003.png").write_bytes(b"")
    assert look(root, quick=True).usable
    assert look(root, quick=True).splits[1].frames == 30


def test_videos_are_counted_by_decoding(tmp_path: Path) -> None:
    trees.write_video(tmp_path / "normal/a.avi", make_clip(40, 0).frames)
    trees.write_video(tmp_path / "normal/b.avi", CLIPS[0].frames)
    trees.cut_tail(tmp_path / "normal/a.avi", 0.5)
    found = look(tmp_path)
    assert found.usable
    assert 6 < found.splits[0].frames < 46
    assert look(tmp_path, quick=True).splits[0].frames == 46
    assert any("video a ends early" in message for message in messages(found, "warning"))
    (tmp_path / "normal/b.avi").write_bytes(b"no video")
    assert not look(tmp_path).usable
    assert not look(tmp_path, quick=True).usable


def test_a_store(root: Path, tmp_path: Path) -> None:
    prepare(PrepareConfig(root, tmp_path / "store", size=32), progress=False)
    found = look(tmp_path / "store")
    assert found.usable
    assert found.splits[1].frames == 30
    frames = tmp_path / "store/testing/frames.npy"
    frames.write_bytes(frames.read_bytes()[:-1] + b"\x00")
    assert not look(tmp_path / "store").usable
    assert look(tmp_path / "store", quick=True).usable


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(root)]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("testing", "48 x 40", "12 abnormal frames (40.0 %)", "can be used"))
    assert main(["inspect", str(root), "--json", "--layout", "frames"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["usable"]
    assert found["splits"][1]["labels"][0]["abnormal"] == 12
    shutil.rmtree(root / "testing/frames/04")
    assert main(["inspect", str(root)]) == 1
    shown = capsys.readouterr().out
    assert "labels for 21 frames" in shown
    assert "cannot be used" in shown
    assert main(["inspect", str(root / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_real_ped2(ped2: Path) -> None:
    found = look(ped2)
    training, testing = found.splits
    assert (training.videos, training.frames, testing.videos, testing.frames) == (16, 2550, 12, 2010)
    assert training.grey
    assert testing.resolutions == {"360 x 240": 12}
    assert (testing.labels[0].abnormal, testing.labels[0].differs_from_masks) == (1648, 0)
    assert found.problems == ()
