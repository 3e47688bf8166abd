"""Folders as people have them: what is right for each is what comes out."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from mnad.cli import main
from mnad.data import PrepareConfig, Windows, prepare
from mnad.data.inspection import inspect
from mnad.data.label_files import read_labels
from mnad.runtime.errors import DataError

from tests.data.field import clips_of, counts, look, moving, numbers, pictures, spoil, told, write_pictures, write_video


def test_a_snapshot_beside_a_clip_is_no_video(tmp_path: Path) -> None:
    for part in ("normal", "test"):
        for day in ("2026-10-03", "2026-10-04"):
            write_video(tmp_path / part / "gate" / day / "clip.mp4", moving(40))
            pictures(tmp_path / part / "gate" / day, ["clip.jpg"])
    found = look(tmp_path)
    assert counts(found) == {"training": (2, 80), "testing": (2, 80)}
    assert "4 .jpg (first normal/gate/2026-10-03/clip.jpg)" in told(found)
    assert clips_of(tmp_path).names == ("gate/2026-10-03/clip", "gate/2026-10-04/clip")


def test_a_cover_above_the_videos_is_none(tmp_path: Path) -> None:
    write_video(tmp_path / "normal/gate/a.mp4", moving(10))
    pictures(tmp_path / "normal/gate/frames", [f"{index}.png" for index in range(12)])
    pictures(tmp_path / "normal", ["cover.png"])
    found = look(tmp_path)
    assert counts(found)["training"] == (2, 22)
    assert "1 .png (normal/cover.png)" in told(found)


def test_folders_that_are_named_by_the_date(tmp_path: Path) -> None:
    days = [f"2026.01.{day:02}" for day in (7, 3, 12, 1, 9, 5, 11, 2, 8, 4, 10, 6)]
    for day in days:
        pictures(tmp_path / "testing" / day, [f"{index:03}.png" for index in range(6)], seed=int(day[-2:]))
    np.save(tmp_path / "labels.npy", np.repeat(np.arange(12) >= 6, 6).astype(np.uint8))
    clips = clips_of(tmp_path)
    assert clips.names == tuple(sorted(days))
    assert clips.labels is not None
    assert [bool(clips.labels[span].all()) for _, span in clips.videos()] == [False] * 6 + [True] * 6


def test_a_frame_that_cannot_be_read(tmp_path: Path) -> None:
    write_video(tmp_path / "normal/gate.avi", moving(60), "mjpeg", "yuvj420p")
    gate = write_video(tmp_path / "test/gate.avi", moving(60), "mjpeg", "yuvj420p")
    spoil(gate, 20)
    (tmp_path / "labels.csv").write_text("video,first,last\ngate,21,30\n")
    fault = "video gate: 1 of 60 frames cannot be read from"
    assert fault in told(look(tmp_path))
    with pytest.warns(UserWarning, match=rf"{fault} .*gate.avi: 20$"):
        clips = clips_of(tmp_path)
    assert numbers(clips) == [0 if number == 20 else number for number in range(60)]
    assert clips.missing is not None
    assert np.flatnonzero(clips.missing).tolist() == [20]
    assert clips.labels is not None
    assert np.flatnonzero(clips.labels).tolist() == list(range(21, 31))
    targets = Windows(clips, 4, "next").targets.tolist()
    assert targets == [number for number in range(4, 60) if not 20 <= number <= 24]
    with pytest.raises(DataError, match=rf"{fault} .*because of --strict"):
        prepare(PrepareConfig(tmp_path, tmp_path / "store", size=96, strict=True), progress=False)


def test_a_stack_of_pictures_that_is_cut_off(tmp_path: Path) -> None:
    for part in ("normal", "test"):
        (tmp_path / part).mkdir()
        assert cv2.imwritemulti(str(tmp_path / part / "pages.tif"), moving(40))
    path = tmp_path / "test/pages.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert f"video pages ends early: 20 frames can be read of {path}, which is cut off" in told(look(tmp_path))
    with pytest.warns(UserWarning, match="ends early: 20 frames"):
        assert numbers(clips_of(tmp_path)) == list(range(20))


def test_a_video_that_gets_another_name(tmp_path: Path) -> None:
    pictures(tmp_path / "test/gate", [f"{index:03}.png" for index in range(8)])
    pictures(tmp_path / "test/yard", [f"{index:03}.png" for index in range(8)])
    assert clips_of(tmp_path).names == ("gate", "yard")
    (tmp_path / "test/gate").rename(tmp_path / "test/door")
    assert clips_of(tmp_path).names == ("door", "yard")


def test_what_must_not_be_read_is_named(tmp_path: Path) -> None:
    root = Path(tempfile.mkdtemp(dir="/tmp"))  # where others may look, but for what they must not
    root.chmod(0o755)
    try:
        pictures(root / "test/gate", [f"{index}.png" for index in range(8)])
        (root / "test_labels.csv").write_text("video,first,last\n")
        (root / "test_labels.csv").chmod(0)
        with as_somebody_else(), pytest.raises(DataError, match=r"cannot read the label file .*: Permission denied"):
            read_labels(root / "test_labels.csv", ["gate"])
        (root / "test/gate").chmod(0)
        with as_somebody_else(), pytest.raises(DataError, match=r"cannot look into .*gate: Permission denied"):
            inspect(root, progress=False)
    finally:
        shutil.rmtree(root)


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Gives up what root may do, if this is root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_places_where_no_store_can_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path / "set/test/gate", [f"{index}.png" for index in range(8)])
    (tmp_path / "file").write_text("mine")
    for out, message in (
        (str(tmp_path / "file"), "exists already and is no clip store"),
        (".", "out must name a folder that is made, got ."),
        (str(tmp_path / "file/store"), "cannot write"),
    ):
        assert main(["prepare", str(tmp_path / "set"), "--size", "96", "--out", out]) == 2
        assert message in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_what_is_wrong_is_told_each_time(tmp_path: Path) -> None:
    """Gaps in the numbers of frames shift labels, and a store that was made knows of them."""
    names = [f"{index:03}.png" for index in range(30) if index != 12]
    pictures(tmp_path / "set/test/gate", names)
    config = PrepareConfig(tmp_path / "set", tmp_path / "store", size=96)
    with pytest.raises(DataError, match=r"gate: 1 missing between 011.png and 013.png \(an error because of --strict"):
        prepare(replace(config, strict=True), progress=False)
    for again in (config, config):
        with pytest.warns(UserWarning, match="gate: 1 missing between 011.png and 013.png"):
            prepare(again, progress=False)
    with pytest.raises(DataError, match="an error because of --strict"):
        prepare(replace(config, strict=True), progress=False)
    for data in (tmp_path / "store", tmp_path / "set", tmp_path / "set"):
        with pytest.warns(UserWarning, match="gate: 1 missing between 011.png and 013.png"):
            clips_of(data)


def test_masks_of_any_depth_and_colour(tmp_path: Path) -> None:
    faint: list[np.ndarray] = [np.zeros((96, 96), np.uint16) for _ in range(4)]
    faint += [np.zeros((96, 96, 3), np.uint8) for _ in range(4)]
    faint[2][5, 5] = 1
    faint[5][5, 5] = (0, 0, 1)
    for split in ("training", "testing"):
        pictures(tmp_path / split / "frames/01", [f"{index}.png" for index in range(8)])
    write_pictures(tmp_path / "testing/masks/01", [f"{index}.png" for index in range(8)], faint)
    masks = clips_of(tmp_path).masks()
    assert masks is not None
    assert np.flatnonzero(masks.any(axis=(1, 2))).tolist() == [2, 5]


def test_bytes_behind_the_end_of_a_picture(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for part in ("normal", "test"):
        for kind in ("jpg", "png"):
            pictures(tmp_path / part / kind, [f"{index:03}.{kind}" for index in range(20)])
            for path in (tmp_path / part / kind).iterdir():
                path.write_bytes(path.read_bytes() + random.integers(0, 256, 500_000, np.uint8).tobytes())
    assert counts(look(tmp_path)) == {"training": (2, 40), "testing": (2, 40)}
    assert numbers(clips_of(tmp_path)) == [*range(20), *range(20)]


def test_the_number_of_a_frame_is_what_changes_in_its_name(tmp_path: Path) -> None:
    for part in ("normal", "test"):
        pictures(tmp_path / part / "gate", [f"frame_{index:04}_cam2.png" for index in range(12)])
        pictures(tmp_path / part / "yard", [f"yard_2026-01-01_12-{index:02}-00.png" for index in range(12)])
        pictures(tmp_path / part / "door", [f"{index // 6}h{10 * (index % 6)}m_cam2.png" for index in range(12)])
        pictures(tmp_path / part / "step", [f"{10 * index}.png" for index in range(12)])
        pictures(tmp_path / part / "time", [f"{index * 41 + index * index % 7}.png" for index in range(12)])
    found = look(tmp_path)
    assert counts(found) == {"training": (5, 60), "testing": (5, 60)}
    assert told(found) == ""
    assert numbers(clips_of(tmp_path)) == list(range(12)) * 5
    (tmp_path / "test/step/50.png").unlink()
    assert "video step: 1 missing between 40.png and 60.png" in told(look(tmp_path))
    (tmp_path / "test/gate/frame_3_cam2.png").write_bytes((tmp_path / "test/gate/frame_0003_cam2.png").read_bytes())
    with pytest.raises(DataError, match=r"frame_0003_cam2.png and frame_3_cam2.png are the same frame"):
        clips_of(tmp_path)


def test_every_file_is_used_or_named(tmp_path: Path) -> None:
    frames = moving(40)
    for part in ("normal", "test"):
        write_video(tmp_path / part / "gate.mp4", frames)
        write_video(tmp_path / part / "clip.gif", frames, "gif", "rgb8")
        pictures(tmp_path / part / "steps", [f"{index:03}.{'jpg' if index < 10 else 'webp'}" for index in range(30)])
        assert cv2.imwritemulti(str(tmp_path / part / "pages.tif"), frames)
        write_video(tmp_path / part / "moving.webp", frames, "libwebp_anim", container="webp")
        (tmp_path / part / "notes.txt").write_text("")
        (tmp_path / part / "README").write_text("")
    found = look(tmp_path)
    assert counts(found) == {"training": (5, 190), "testing": (5, 190)}
    assert f"left out of {tmp_path}: " in told(found)
    assert "2 without ending (first normal/README)" in told(found)
    assert "2 .txt (first normal/notes.txt)" in told(found)
    clips = clips_of(tmp_path)
    assert clips.names == ("clip", "gate", "moving", "pages", "steps")
    assert numbers(clips) == [*list(range(40)) * 4, *range(30)]


@pytest.mark.parametrize("beginning", ["grey", "black"])
def test_a_camera_that_begins_in_infrared(tmp_path: Path, beginning: str) -> None:
    for part in ("normal", "test"):
        frames = moving(60)
        for frame in frames[:20]:
            frame[:] = 0 if beginning == "black" else frame[..., :1]
        write_pictures(tmp_path / part / "gate", [f"{index:03}.png" for index in range(60)], frames)
        write_video(tmp_path / part / "yard.mp4", frames)
    assert not any(split.grey for split in look(tmp_path).splits)
    assert clips_of(tmp_path).frames.shape == (120, 96, 96, 3)


def test_capitals_do_not_matter(tmp_path: Path) -> None:
    write_video(tmp_path / "Train/day.mp4", moving(40))
    write_video(tmp_path / "Test/night.mp4", moving(30, 1))
    assert counts(look(tmp_path)) == {"training": (1, 40), "testing": (1, 30)}
    assert clips_of(tmp_path).names == ("night",)
    pictures(tmp_path / "other/Training/Frames/01", [f"{index}.png" for index in range(9)])
    assert clips_of(tmp_path / "other", "training").names == ("01",)


def test_capitals_of_a_label_file_do_not_matter(tmp_path: Path) -> None:
    write_video(tmp_path / "NORMAL" / "a.MP4", moving(8))
    write_video(tmp_path / "Test" / "b.mp4", moving(8))
    (tmp_path / "Labels.CSV").write_text("video,first,last\nb,2,3\n")
    (labels,) = next(split for split in look(tmp_path).splits if split.name == "testing").labels
    assert labels.abnormal == 2


def test_a_link_to_a_folder_above(tmp_path: Path) -> None:
    for part in ("normal", "test"):
        write_video(tmp_path / part / "gate.mp4", moving(40))
        (tmp_path / part / "again").symlink_to("..")
        (tmp_path / part / "here").symlink_to(".")
    assert counts(look(tmp_path)) == {"training": (1, 40), "testing": (1, 40)}


@pytest.mark.parametrize("kind", ["video", "frames", "videos", "pages"])
def test_a_single_video_or_a_folder_without_parts_serves_for_all(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "video":
        place = write_video(tmp_path / "gate.mp4", moving(40))
    elif kind == "frames":
        pictures(place, [f"{index}.png" for index in range(40)])
    elif kind == "videos":
        write_video(place / "gate.mp4", moving(40))
    else:
        place = tmp_path / "gate.tif"
        assert cv2.imwritemulti(str(place), moving(40))
    name = "place" if kind == "frames" else "gate"
    for split in ("training", "testing"):
        clips = clips_of(place, split)
        assert (clips.names, numbers(clips)) == ((name,), list(range(40)))
    found = look(place)
    assert counts(found) == {"testing": (1, 40)}
    assert "nothing says which videos are for training: the same ones serve" in told(found)


def test_the_rate_of_frames_comes_from_the_video(tmp_path: Path) -> None:
    write_video(tmp_path / "test/a.mp4", moving(20), rate=10)
    pictures(tmp_path / "test/b", [f"{index}.png" for index in range(9)])
    assert look(tmp_path).splits[0].rates == {"10": 1}
    assert clips_of(tmp_path).rates == (10.0, None)


def test_what_is_left_out_is_said_in_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "normal" / "a.mp4", moving(8))
    (tmp_path / "normal" / "a.srt").write_text("words")
    words = f"left out of {tmp_path}: 1 .srt (normal/a.srt)"
    small = ["--size", "32", "--width", "4", "--epochs", "1", "--accelerator", "cpu", "--num-items", "2"]
    assert main(["train", "--data", str(tmp_path), "--out", str(tmp_path.with_name("run")), *small]) == 0
    assert words in capsys.readouterr().out
    assert main(["score", str(tmp_path.with_name("run")), "--data", str(tmp_path), "--split", "training"]) == 0
    assert words in capsys.readouterr().out
    assert main(["prepare", str(tmp_path), "--out", str(tmp_path.with_name("store")), "--size", "32"]) == 0
    assert words in capsys.readouterr().out
    assert main(["inspect", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert words in shown
    assert "1 8 25 96 x 96" in shown
