"""Events composed into normal video: at the places and times that the labels say, and nothing else changed."""

import json
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from mnad.data import open_clips
from mnad.data.clips import Clips
from mnad.data.composed import EVENTS, MANIFEST, NORMAL, ComposedSpec, PlannedEvent, events_of, write_composed
from mnad.data.staging import covered, crossing, cut_out, left_behind, play_order, replayed
from mnad.runtime.errors import ConfigError, DataError

SIZE = 32
SPEC = ComposedSpec(size=SIZE, repeats=1, frames=20, event=8, margin=4)
EVENT = slice(4, 12)


def recording(frames: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    """A grey wall on which a white bar moves down by two pixels a frame."""
    random = np.random.default_rng(seed)
    wall = np.repeat(random.integers(90, 110, (1, SIZE, SIZE, 1)), frames, axis=0)
    for index, frame in enumerate(wall):
        frame[np.arange(4) + 2 * index % (SIZE - 4)] = 250
    return np.repeat(wall, channels, axis=3).astype(np.uint8)


def clips_of(*videos: np.ndarray, missing: np.ndarray | None = None) -> Clips:
    names = tuple(f"camera-{index}" for index in range(len(videos)))
    starts = np.cumsum([0, *map(len, videos)])
    return Clips(np.concatenate(videos), names, starts, None, "none", None, (False,) * len(videos), missing)


def checked() -> np.ndarray:
    """A picture of large squares of two colours, as no wall has them."""
    squares = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((4, 4)))[..., None]
    return (squares * [250, 20, 20] + (1 - squares) * [10, 240, 10]).astype(np.uint8)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


def test_an_object_crosses_from_side_to_side_and_changes_nothing_else(random):
    frames = recording(16)
    staged = crossing(frames, EVENT, cut_out([checked()], 8, random), random)
    outside = ~cv2_dilate(staged.masks)
    assert (staged.frames[outside] == frames[outside]).all()
    assert not staged.masks[:4].any()
    assert not staged.masks[12:].any()
    assert staged.masks[5:11].any(axis=(1, 2)).all()
    assert (np.abs(staged.frames.astype(int) - frames)[staged.masks].max(-1) > 20).mean() > 0.9
    centres = [np.argwhere(mask).mean(0) for mask in staged.masks[5:11]]
    assert np.linalg.norm(centres[-1] - centres[0]) > SIZE / 2
    steps = np.linalg.norm(np.diff(centres[1:-1], axis=0), axis=1)
    assert steps.max() < 1.5 * steps.min()


def test_what_is_left_behind_stays_in_its_place(random):
    frames = recording(16)
    staged = left_behind(frames, EVENT, cut_out([checked()], 8, random), random)
    assert all((one == other).all() for one, other in pairwise(staged.masks[EVENT]))
    assert staged.masks[EVENT].any(axis=(1, 2)).all()
    assert not np.delete(staged.masks, np.arange(4, 12), axis=0).any()
    assert (staged.frames[7][staged.masks[7]] == staged.frames[8][staged.masks[8]]).all()


def test_half_of_the_lens_is_covered(random):
    frames = recording(16)
    staged = covered(frames, EVENT, random)
    assert (staged.masks[EVENT].mean(axis=(1, 2)) == 0.5).all()
    assert staged.frames[8][staged.masks[8]].max() < 160
    assert np.median(staged.frames[8][staged.masks[8]]) < 60
    assert np.abs(staged.frames[8][~staged.masks[8]].astype(int) - frames[8][~staged.masks[8]]).mean() < 10


@pytest.mark.parametrize("step", [-1, 2, 0])
def test_another_order_is_abnormal_where_something_moves(step):
    video, shown = recording(64), play_order(16, EVENT, step)
    assert shown.min() >= 0
    staged = replayed(video, shown, EVENT)
    assert (staged.frames == video[shown]).all()
    assert staged.masks[EVENT].any(axis=(1, 2)).all()
    assert not np.delete(staged.masks, np.arange(4, 12), axis=0).any()
    still = replayed(np.repeat(video[:1], 64, axis=0), shown, EVENT)
    assert not still.masks.any()


def test_orders_have_no_jump():
    for step in (-1, 2, 0):
        steps = np.diff(play_order(30, slice(10, 20), step))
        assert set(steps[:9]) == set(steps[19:]) == {1}
        assert set(steps[9:19]) == {step}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("composed") / "wall"
    write_composed(root, clips_of(recording(200)), [checked()], SPEC)
    return root


def test_a_written_set_has_an_event_of_each_kind_and_normal_video(written):
    clips = open_clips(written, "testing", SIZE, cache=written.parent / "cache", progress=False)
    events = events_of(written)
    assert list(events) == list(clips.names)
    assert [event for event in events.values() if event is not None] == list(EVENTS)
    assert list(events.values()).count(None) == 1
    assert (clips.labels == clips.masks().any(axis=(1, 2))).all()
    planned = json.loads((written / MANIFEST).read_text())["videos"]
    for name, span in clips.videos():
        labels = clips.labels[span]
        if planned[name]["kind"] == NORMAL:
            assert not labels.any()
            assert len(labels) == 50
            continue
        inside = np.zeros(len(labels), bool)
        inside[planned[name]["first"] : planned[name]["last"] + 1] = True
        assert labels.any()
        assert not (labels & ~inside).any()


def test_training_holds_nothing_of_the_test_part(written):
    training = open_clips(written, "training", SIZE, cache=written.parent / "cache", progress=False)
    assert len(training) == 150
    assert training.labels is None


def test_the_same_seed_gives_the_same_pixels(written, tmp_path):
    for seed, same in {0: True, 1: False}.items():
        root = tmp_path / str(seed)
        spec = replace(SPEC, seed=seed)
        write_composed(root, clips_of(recording(200)), [checked()], spec)
        pictures = [cv2.imread(str(folder / "testing/frames/02/0008.jpg")) for folder in (written, root)]
        assert (pictures[0] == pictures[1]).all() == same


def test_of_several_recordings_the_last_are_for_testing(tmp_path):
    videos = [recording(40, seed) for seed in range(5)]
    write_composed(tmp_path / "set", clips_of(*videos), [checked()], SPEC)
    training = open_clips(tmp_path / "set", "training", SIZE, cache=tmp_path / "cache", progress=False)
    assert np.diff(training.starts).tolist() == [40] * 4
    assert list(events_of(tmp_path / "set").values())[-1] is None


def test_a_camera_in_grey_sees_foreign_objects_in_grey(tmp_path):
    write_composed(tmp_path / "set", clips_of(recording(200, channels=1)), [checked()], SPEC)
    picture = cv2.imread(str(tmp_path / "set/testing/frames/02/0008.jpg")).astype(int)
    assert np.ptp(picture, axis=2).max() <= 4  # JPEG


def test_sizes_are_shares_of_the_height(written):
    planned = {str(event): name for name, event in events_of(written).items()}
    for size, share in {"small": 1 / 12, "medium": 1 / 6, "large": 1 / 3}.items():
        mask = cv2.imread(str(written / f"testing/masks/{planned[f'left behind, {size}']}/0008.png"), 0) > 0
        assert np.ptp(np.argwhere(mask), axis=0)[0] + 1 == pytest.approx(share * SIZE, abs=2)


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (clips_of(recording(40)), "an event needs 16 frames of test video, but there are 10"),
        (clips_of(recording(80), missing=np.arange(80) == 7), "1 frames could not be read"),
    ],
)
def test_what_cannot_be_composed_is_said_and_nothing_is_left(clips, message, tmp_path):
    with pytest.raises(DataError, match=message):
        write_composed(tmp_path / "set", clips, [checked()], SPEC)
    assert not (tmp_path / "set").exists()


def test_specs_out_of_range_and_other_folders_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="test_share must lie between 0 and 1"):
        ComposedSpec(test_share=1)
    with pytest.raises(ConfigError, match="repeats must be positive"):
        ComposedSpec(repeats=0)
    with pytest.raises(ConfigError, match="frames must be at least event and margins, 60, got 50"):
        ComposedSpec(frames=50)
    with pytest.raises(DataError, match="composed data set"):
        events_of(tmp_path)


def test_events_have_names():
    assert str(PlannedEvent("crossing", "small")) == "crossing, small"
    assert str(PlannedEvent("frozen", None)) == "frozen"


def cv2_dilate(masks: np.ndarray) -> np.ndarray:
    return np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))) for mask in masks]).astype(bool)
