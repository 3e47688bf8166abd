"""Cameras that stand still are told from those that move."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mnad.data import Clips, open_clips
from mnad.data.steadiness import moves
from numpy.typing import NDArray

SIZE = 64


def clips_of(frames: NDArray[np.uint8]) -> Clips:
    return Clips(frames, ("camera",), np.array([0, len(frames)]), None, "none", None, (False,))


def street(frames: int = 40, noise: float = 0) -> NDArray[np.uint8]:
    """A wall of large bricks before which something crosses a third of the picture."""
    random = np.random.default_rng(0)
    wall = np.kron(random.integers(40, 200, (16, 16)), np.ones((4, 4)))[..., None]
    pictures = np.repeat(wall[None], frames, axis=0) + random.normal(0, noise, (frames, SIZE, SIZE, 1))
    for index, picture in enumerate(pictures):
        picture[:, 2 * index % 40 : 2 * index % 40 + 20] = 230
    return pictures.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0, 1])
def test_a_camera_stands_still_whatever_moves_before_it(noise: float) -> None:
    assert not moves(clips_of(street(noise=noise)))


@pytest.mark.parametrize("step", [1, 3])
def test_a_camera_that_pans_or_shakes_moves(step: int) -> None:
    frames = street()
    random = np.random.default_rng(1)
    panned = np.stack([np.roll(frame, step * index, axis=1) for index, frame in enumerate(frames)])
    shaken = np.stack([np.roll(frame, random.integers(-step, step + 1, 2), axis=(0, 1)) for frame in frames])
    assert moves(clips_of(panned))
    assert moves(clips_of(shaken))


def test_the_end_of_one_video_and_the_beginning_of_another_are_no_movement() -> None:
    still = np.concatenate([np.roll(street(2), 5 * index, axis=1) for index in range(20)])
    assert not moves(Clips(still, tuple(map(str, range(20))), np.arange(21) * 2, None, "none", None, (False,) * 20))


def test_pictures_without_structure_tell_nothing() -> None:
    blank = np.full((20, SIZE, SIZE, 1), 90, np.uint8)
    assert not moves(clips_of(blank))
    assert not moves(clips_of(blank[:1]))


def test_frames_that_could_not_be_read_are_no_movement() -> None:
    frames = street()
    missing = np.arange(len(frames)) % 4 == 1
    frames[missing] = 0
    assert not moves(replace(clips_of(frames), missing=missing))


def test_real_cameras_stand_still(ped2: Path) -> None:
    clips = open_clips(ped2, "training", SIZE, progress=False)
    assert not moves(clips)
    frames = clips.frames[:200]
    assert moves(clips_of(np.stack([np.roll(frame, index, axis=1) for index, frame in enumerate(frames)])))


@pytest.mark.skipif("MNAD_VIDEOS" not in os.environ, reason="MNAD_VIDEOS names no folder of clips of fixed cameras")
def test_clips_of_fixed_cameras_stand_still() -> None:
    videos = sorted(Path(os.environ["MNAD_VIDEOS"]).glob("*.mp4"))
    assert videos
    assert not any(moves(open_clips(video, "training", 128, progress=False)) for video in videos)
