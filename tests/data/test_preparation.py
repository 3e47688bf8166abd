"""The clip store: what is in it, that it is whole, that a run that was killed goes on."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mnad.data import Clips, PrepareConfig, Store, open_clips, open_store, prepare
from mnad.data.store import MANIFEST, StoredSplit
from mnad.runtime.errors import ConfigError, DataError, OutputError

from tests.data import trees
from tests.data.trees import Clip, make_clip

GREY = [make_clip(6 + index, index, events=[(index, index + 2)], colour=False) for index in range(4)]
COLOUR = [make_clip(6 + index, index, events=[(index, index + 2)]) for index in range(4)]


def named(clips: list[Clip]) -> dict[str, Clip]:
    return {f"{index:02d}": clip for index, clip in enumerate(clips, 1)}


def store_of(root: Path, out: Path, **options: object) -> Store:
    return prepare(PrepareConfig(root, out, **{"size": 32, **options}), progress=False)  # type: ignore[arg-type]


def checksums(store: Store) -> list[object]:
    """All of what a store holds but the names of its videos and label sets and where they come from."""
    return [
        (name, [(video.frames, video.sha256, video.masks_sha256) for video in split.videos], first_labels(split))
        for name, split in store.splits.items()
    ]


def first_labels(split: StoredSplit) -> str | None:
    return split.labels[0].sha256 if split.labels else None


def resized(clips: list[Clip], channels: int) -> np.ndarray:
    frames = [cv2.resize(frame, (32, 32)) for clip in clips for frame in clip.frames]
    return np.stack(frames)[..., :channels]


def test_what_is_in_a_store(tmp_path: Path) -> None:
    trees.write_frames_layout(tmp_path / "set", named(COLOUR[:1]), named(COLOUR), masks=True)
    np.save(tmp_path / "set/frame_labels_set.npy", np.concatenate([clip.labels for clip in COLOUR]))
    store = store_of(tmp_path / "set", tmp_path / "store")
    clips = open_store(tmp_path / "store").clips("testing")
    assert isinstance(clips.frames, np.memmap)
    assert np.array_equal(clips.frames, resized(COLOUR, 3))
    assert clips.starts.tolist() == [0, 6, 13, 21, 30]
    assert clips.labels is not None
    assert np.array_equal(clips.labels, np.concatenate([clip.labels for clip in COLOUR]))
    masks = clips.masks()
    assert masks is not None
    assert np.array_equal(masks.any(axis=(1, 2)), clips.labels)
    first = cv2.resize(COLOUR[0].masks[1].astype(np.uint8), (32, 32), interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(masks[1], first.astype(bool))
    assert list(store.problems()) == []
    manifest = json.loads((tmp_path / "store" / MANIFEST).read_text())
    assert (manifest["layout"], manifest["size"]) == ("frames", 32)
    assert f"OpenCV {cv2.__version__}, PyAV" in manifest["decoders"]
    left = {path.name for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert left == {MANIFEST, "frames.npy", "masks.npy", "labels-0.npy"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "store"]


def test_grey_video_is_stored_as_one_channel(tmp_path: Path) -> None:
    trees.write_frames_layout(tmp_path / "set", named(GREY[:2]), {})
    assert store_of(tmp_path / "set", tmp_path / "grey").channels == 1
    assert np.array_equal(open_store(tmp_path / "grey").clips("training").frames, resized(GREY[:2], 1))
    assert store_of(tmp_path / "set", tmp_path / "forced", channels=3).channels == 3
    trees.write_images(tmp_path / "set/training/frames/03", list(COLOUR[0].frames))
    assert store_of(tmp_path / "set", tmp_path / "colour").channels == 3
    assert store_of(tmp_path / "set", tmp_path / "dropped", channels=1).channels == 1


def test_a_single_frame_in_colour_makes_a_store_in_colour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_clip(41, 0, colour=False)
    clip.frames[3] = COLOUR[0].frames[0]  # not one of those that are looked at beforehand
    trees.write_frames_layout(tmp_path / "set", named([clip]), named([clip]))
    store = prepare(PrepareConfig(tmp_path / "set", tmp_path / "store", size=32))
    assert "frame 3 of video 01 has colour, so that all are stored in colour" in capsys.readouterr().out
    assert store.channels == 3
    assert np.array_equal(store.clips("training").frames, resized([clip], 3))


def test_raw_ucsd_and_the_frames_layout_give_equal_stores(tmp_path: Path) -> None:
    trees.write_frames_layout(tmp_path / "set", named(GREY), named(GREY), masks=True)
    np.save(tmp_path / "set/frame_labels_set.npy", np.concatenate([clip.labels for clip in GREY])[None])
    trees.write_ucsd(tmp_path / "raw", GREY, GREY)
    one, other = store_of(tmp_path / "set", tmp_path / "one"), store_of(tmp_path / "raw", tmp_path / "other")
    assert checksums(one) == checksums(other)
    for split in ("training", "testing"):
        frames = [open_store(tmp_path / name).clips(split).frames for name in ("one", "other")]  # type: ignore[arg-type]
        assert np.array_equal(*frames)


def test_avenue_from_videos_with_both_label_sets(tmp_path: Path) -> None:
    trees.write_avenue(tmp_path / "Avenue", COLOUR[:2], COLOUR)
    np.save(tmp_path / "Avenue/frame_labels_avenue.npy", np.ones(30))
    store = store_of(tmp_path / "Avenue", tmp_path / "store")
    assert [video.frames for video in store.splits["testing"].videos] == [6, 7, 8, 9]
    assert [video.frames for video in store.splits["training"].videos] == [6, 7]
    official, hasan = store.clips("testing"), store.clips("testing", "hasan")
    assert official.label_source == "official (testing_label_mask)"
    assert hasan.label_source == "hasan (frame_labels_avenue.npy)"
    assert official.labels is not None
    assert hasan.labels is not None
    assert (official.labels.sum(), hasan.labels.sum()) == (12, 30)
    with pytest.raises(DataError, match=r"'both' are neither a file nor a label set .* official, hasan"):
        store.clips("testing", "both")
    np.save(tmp_path / "mine.npy", np.zeros(30))
    assert store.clips("testing", str(tmp_path / "mine.npy")).label_source == "mine.npy"


def test_shanghaitech_from_videos(tmp_path: Path) -> None:
    trees.write_shanghaitech(tmp_path / "set", {"01_001": COLOUR[0]}, {"01_0014": COLOUR[1], "02_0001": COLOUR[2]})
    store = store_of(tmp_path / "set", tmp_path / "store")
    assert [video.frames for split in store.splits.values() for video in split.videos] == [6, 7, 8]
    written = resized(COLOUR[:1], 3).astype(int)
    # What MJPEG leaves of a smooth picture.
    assert np.abs(store.clips("training").frames - written).mean() < 4
    masks = store.clips("testing").masks()
    assert masks is not None
    assert masks.any(axis=(1, 2)).sum() == 6


def test_a_video_with_a_broken_tail(tmp_path: Path) -> None:
    long = make_clip(40, 0)
    trees.write_video(tmp_path / "set/normal/whole.avi", long.frames)
    trees.write_video(tmp_path / "set/normal/broken.avi", long.frames)
    trees.cut_tail(tmp_path / "set/normal/broken.avi", 0.5)
    with pytest.warns(UserWarning, match=r"video broken ends early: \d+ of 40 frames can be read") as caught:
        store = store_of(tmp_path / "set", tmp_path / "store")
    broken, whole = store.splits["training"].videos
    assert (broken.name, whole.name, whole.frames) == ("broken", "whole", 40)
    assert 10 < broken.frames < 30
    assert store.warnings == (str(caught[0].message),)
    assert f" {broken.frames} of 40" in store.warnings[0]
    with pytest.raises(DataError, match=r"video broken ends early: .* \(an error because of --strict"):
        store_of(tmp_path / "set", tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


@pytest.mark.parametrize("content", [b"", b"not a video", None])
def test_videos_that_are_none(tmp_path: Path, content: bytes | None) -> None:
    trees.write_video(tmp_path / "set/normal/good.avi", COLOUR[0].frames)
    bad = tmp_path / "set/normal/bad.avi"
    bad.write_bytes((tmp_path / "set/normal/good.avi").read_bytes()[:400] if content is None else content)
    with pytest.raises(DataError, match="bad"):
        store_of(tmp_path / "set", tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b""), r"003.png is not an image .* \(0 bytes\)"),
        (lambda path: path.write_text("text"), "003.png is not an image"),
        (lambda path: path.write_bytes(path.read_bytes()[:-300]), "003.png is cut off"),
        (lambda path: cv2.imwrite(str(path), np.zeros((8, 9, 3), np.uint8)), "003.png is 9 x 8, but .* are 48 x 40"),
    ],
)
def test_frames_that_cannot_be_used(tmp_path: Path, damage: object, message: str) -> None:
    trees.write_frames_layout(tmp_path / "set", named(COLOUR[:3]), {})
    damage(tmp_path / "set/training/frames/02/003.png")  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        store_of(tmp_path / "set", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    trees.write_frames_layout(tmp_path / "set", named(COLOUR[:1]), {})
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already and is no clip store"):
        store_of(tmp_path / "set", tmp_path / "full")
    store = store_of(tmp_path / "set", tmp_path / "store")
    written = (tmp_path / "store/training/frames.npy").stat().st_mtime_ns
    assert store_of(tmp_path / "set", tmp_path / "store") == store
    assert (tmp_path / "store/training/frames.npy").stat().st_mtime_ns == written
    with pytest.raises(OutputError, match="is a store of .* at size 32 .* by other options"):
        store_of(tmp_path / "set", tmp_path / "store", size=64)
    with pytest.raises(DataError, match="is a clip store already"):
        store_of(tmp_path / "store", tmp_path / "again")


def test_options_that_cannot_be_served(tmp_path: Path) -> None:
    for size in (0, 4, 30):
        with pytest.raises(ConfigError, match="multiple of 8"):
            PrepareConfig(tmp_path, size=size)
    with pytest.raises(ConfigError, match="workers must be at least 1"):
        PrepareConfig(tmp_path, workers=0)
    with pytest.raises(ConfigError, match="channels must be"):
        PrepareConfig(tmp_path, channels=2)  # type: ignore[arg-type]
    trees.write_frames_layout(tmp_path / "set", {}, named(COLOUR[:1]))
    with pytest.raises(DataError, match="has no training videos"):
        open_clips(tmp_path / "set", "training", 32, cache=tmp_path / "cache", progress=False)


def test_a_damaged_store_is_noticed(tmp_path: Path) -> None:
    trees.write_frames_layout(tmp_path / "set", named(COLOUR[:2]), {})
    store = store_of(tmp_path / "set", tmp_path / "store")
    frames = tmp_path / "store/training/frames.npy"
    data = bytearray(frames.read_bytes())
    data[-1] ^= 1
    frames.write_bytes(data)
    assert list(store.problems()) == ["training video 02: the frames are not those that were written"]
    frames.write_bytes(data[:-5])
    with pytest.raises(DataError, match=r"frames.npy cannot be read"):
        store.clips("training")
    np.save(frames, np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(DataError, match=r"should be uint8 \(13, 32, 32, 3\) and is uint8 \(2, 32, 32, 3\)"):
        store.clips("training")
    (tmp_path / "store" / MANIFEST).write_text("{")
    with pytest.raises(DataError, match="is not the manifest of a clip store"):
        open_store(tmp_path / "store")


def test_the_cache_is_made_once_and_anew_when_a_file_changes(tmp_path: Path) -> None:
    trees.write_frames_layout(tmp_path / "set", named(GREY[:2]), {})

    def opened(**options: object) -> Clips:
        return open_clips(tmp_path / "set", "training", 32, cache=tmp_path / "cache", progress=False, **options)  # type: ignore[arg-type]

    assert np.array_equal(opened().frames, resized(GREY[:2], 1))
    (made,) = (tmp_path / "cache").iterdir()
    assert made.name.startswith("set-training-32-")
    opened()
    assert list((tmp_path / "cache").iterdir()) == [made]
    frame = tmp_path / "set/training/frames/01/000.png"
    changed = 255 - cv2.imread(str(frame))
    cv2.imwrite(str(frame), changed)
    assert np.array_equal(opened().frames[0], cv2.resize(changed, (32, 32))[..., :1])
    assert opened(image_channels=1).frames.shape[-1] == 1


def test_a_store_that_cannot_serve_the_network(tmp_path: Path) -> None:
    trees.write_frames_layout(tmp_path / "set", named(COLOUR[:1]), {})
    store_of(tmp_path / "set", tmp_path / "store")
    with pytest.raises(ConfigError, match="holds frames of size 32, but 64 is asked for"):
        open_clips(tmp_path / "store", "training", 64)
    with pytest.raises(ConfigError, match="holds colour frames, but the network takes grey"):
        open_clips(tmp_path / "store", "training", 32, image_channels=1)
    with pytest.raises(DataError, match="has no testing videos; it has training"):
        open_clips(tmp_path / "store", "testing", 32)


def test_real_ped2_and_the_raw_tree_it_came_from(ped2: Path, tmp_path: Path) -> None:
    store = prepare(PrepareConfig(ped2, tmp_path / "store"), progress=False)
    training, testing = store.splits["training"], store.splits["testing"]
    assert (len(training.videos), training.frames) == (16, 2550)
    assert (len(testing.videos), testing.frames) == (12, 2010)
    assert testing.labels[0].abnormal == 1648
    assert store.channels == 1
    clips = store.clips("testing")
    masks = clips.masks()
    assert masks is not None
    assert np.array_equal(masks.any(axis=(1, 2)), clips.labels)

    raw = tmp_path / "UCSDped2"
    trees.write_ucsd(raw, read_clips(ped2 / "training"), read_clips(ped2 / "testing"))
    rebuilt = prepare(PrepareConfig(raw, tmp_path / "rebuilt"), progress=False)
    assert rebuilt.layout == "ucsd"
    assert checksums(rebuilt) == checksums(store)


def read_clips(split: Path) -> list[Clip]:
    return [read_clip(folder, split / "masks" / folder.name) for folder in sorted((split / "frames").iterdir())]


def read_clip(folder: Path, masks: Path) -> Clip:
    frames = np.stack([cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))])
    found = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0 for path in sorted(masks.glob("*.png"))]
    return Clip(frames, np.stack(found) if found else np.zeros((0, 1, 1), np.bool_))
