from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mnad.data import load_clips, read_split
from mnad.data.images import read_image
from mnad.errors import ConfigError, DataError

LENGTHS = {"1": 3, "2": 12, "10": 4}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three test videos whose names and frames sort as people count, and one training video."""
    root = tmp_path / "set"
    for split, lengths in {"training": {"1": 4}, "testing": LENGTHS}.items():
        for name, length in lengths.items():
            folder = root / split / "frames" / name
            folder.mkdir(parents=True)
            for index in range(length):
                # Smooth and large enough that cutting the file anywhere loses pixels.
                ramp = np.linspace(0, 255, 40 * 40).reshape(40, 40).astype(np.uint8)
                cv2.imwrite(str(folder / f"{index}.jpg"), np.roll(ramp, 3 * index, axis=1))
    np.save(root / "frame_labels_set.npy", np.arange(19) % 2)
    return root


def test_order_and_clutter(tree: Path) -> None:
    (tree / "testing/frames/2/._3.jpg").write_bytes(b"resource fork")
    (tree / "testing/frames/2/.DS_Store").write_bytes(b"finder")
    (tree / "testing/frames/.hidden").mkdir()
    split = read_split(tree, "testing")
    assert [video.name for video in split.videos] == ["1", "2", "10"]
    assert [path.stem for path in split.videos[1].frames] == [str(index) for index in range(12)]
    assert split.labels is not None
    assert split.labels.tolist() == [bool(index % 2) for index in range(19)]


@pytest.mark.parametrize("shape", [(19,), (1, 19), (19, 1)])
def test_labels_in_any_shape(tree: Path, shape: tuple[int, ...]) -> None:
    np.save(tree / "frame_labels_set.npy", np.zeros(shape))
    labels = read_split(tree, "testing").labels
    assert labels is not None
    assert labels.shape == (19,)


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (18, "18 labels for 19 frames: they run out in video 10, which has 4 frames and gets 3 labels"),
        (14, "they run out in video 2, which has 12 frames and gets 11 labels"),
        (21, "21 labels for 19 frames: 2 are left after the last video, 10"),
    ],
)
def test_label_length_names_the_video(tree: Path, count: int, message: str) -> None:
    np.save(tree / "frame_labels_set.npy", np.zeros(count))
    with pytest.raises(DataError, match=message):
        load_clips(tree, "testing", 16, progress=False)


def test_labels_beside_the_folder(tree: Path) -> None:
    (tree / "frame_labels_set.npy").rename(tree.parent / "frame_labels_set.npy")
    np.save(tree.parent / "frame_labels_other.npy", np.zeros(3))
    assert read_split(tree, "testing").label_file == tree.parent / "frame_labels_set.npy"


def test_no_labels_is_no_fault(tree: Path) -> None:
    (tree / "frame_labels_set.npy").unlink()
    assert read_split(tree, "testing").labels is None


def test_labels_that_are_not_labels(tree: Path) -> None:
    np.save(tree / "frame_labels_set.npy", np.array([{}] * 19, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as a plain .npy array"):
        read_split(tree, "testing")
    np.save(tree / "frame_labels_set.npy", np.full(19, 7))
    with pytest.raises(DataError, match="only 0 .normal. and 1"):
        read_split(tree, "testing")
    np.save(tree / "frame_labels_set.npy", np.zeros((2, 19)))
    with pytest.raises(DataError, match="one row of numbers"):
        read_split(tree, "testing")
    np.save(tree / "frame_labels_two.npy", np.zeros(19))
    shutil.move(tree / "frame_labels_set.npy", tree / "frame_labels_one.npy")
    with pytest.raises(DataError, match="2 label files .* --labels"):
        read_split(tree, "testing")
    with pytest.raises(DataError, match="does not exist"):
        read_split(tree, "testing", tree / "missing.npy")


def test_folders_that_are_not_data(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_split(tmp_path / "nowhere", "testing")
    with pytest.raises(DataError, match="is not a folder"):
        read_split(tree / "frame_labels_set.npy", "testing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no testing/frames folder .* it holds nothing"):
        read_split(tmp_path / "empty", "testing")
    shutil.rmtree(tree / "testing/frames/2")
    (tree / "testing/frames/2").mkdir()
    with pytest.raises(DataError, match="video 2 has no frames"):
        read_split(tree, "testing")
    shutil.rmtree(tree / "training/frames/1")
    with pytest.raises(DataError, match="is empty"):
        read_split(tree, "training")


def test_masks_must_match_the_frames(tree: Path) -> None:
    masks = tree / "testing/masks/2"
    masks.mkdir(parents=True)
    cv2.imwrite(str(masks / "0.png"), np.zeros((40, 40), np.uint8))
    with pytest.raises(DataError, match="video 2 has 12 frames but 1 masks"):
        read_split(tree, "testing")


@pytest.mark.parametrize("kept", [0, 1, 100, -3])
def test_a_frame_that_is_cut_off(tree: Path, kept: int) -> None:
    frame = tree / "testing/frames/2/7.jpg"
    frame.write_bytes(frame.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"2/7.jpg is (cut off|not an image)"):
        load_clips(tree, "testing", 16, progress=False)


def test_a_png_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match="cut off"):
        read_image(path, 1)


@pytest.mark.parametrize("size", [0, 4, 30])
def test_sizes_that_cannot_be_pooled(tree: Path, size: int) -> None:
    with pytest.raises(ConfigError, match="multiple of 8"):
        load_clips(tree, "testing", size)


def test_pixels_are_resized_bgr(tree: Path) -> None:
    colour = np.zeros((20, 10, 3), np.uint8)
    colour[..., 0] = 255
    cv2.imwrite(str(tree / "testing/frames/1/0.jpg"), colour, [cv2.IMWRITE_JPEG_QUALITY, 100])
    clips = load_clips(tree, "testing", 16, progress=False)
    assert clips.frames[0].mean(axis=(0, 1)) == pytest.approx([255, 0, 0], abs=3)
    assert load_clips(tree, "testing", 16, channels=1, progress=False).frames.shape == (19, 16, 16, 1)


def test_real_ped2(ped2: Path) -> None:
    training, testing = read_split(ped2, "training"), read_split(ped2, "testing")
    assert (len(training.videos), sum(len(video.frames) for video in training.videos)) == (16, 2550)
    assert (len(testing.videos), sum(len(video.frames) for video in testing.videos)) == (12, 2010)
    assert testing.labels is not None
    assert testing.labels.sum() == 1648
    clips = load_clips(ped2, "testing", 256, progress=False)
    assert clips.masks is not None
    assert np.array_equal(clips.masks.any(axis=(1, 2)), testing.labels)
