"""The frames of folders that are written to: when each was taken, and files that are not as they should be."""

from __future__ import annotations

import os
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mnad.data.video import VideoFile
from mnad.watching import shots
from mnad.watching.addresses import parse_address
from mnad.watching.camera_process import FrameMaker
from mnad.watching.mailbox import Mailbox
from mnad.watching.messages import Delivery, Note, Order
from mnad.watching.pacing import Pacer
from mnad.watching.shots import Playback, Shot, shots_of_folder

from tests.watching.samples import write_video

RATE, LENGTH = 5, 60
WRITTEN = 1_700_000_000.0


def order(folder: Path, **options: Any) -> Order:
    return Order(parse_address(str(folder)), 64, 3, None, RATE, 0.0, 5, **options)


def shots_in(folder: Path, count: int, **options: Any) -> list[Shot]:
    return list(islice(shots_of_folder(order(folder, **options), pytest.fail, lambda: None), count))


def write_segment(folder: Path, number: int, ended: float, fps: float = RATE) -> None:
    frames = np.random.default_rng(number).integers(0, 256, (LENGTH, 32, 32, 3), np.uint8)
    path = write_video(folder / f"{number}.mp4", list(frames), fps)
    os.utime(path, (ended, ended))


def write_picture(path: Path, written: float, kind: type[np.generic] = np.uint8) -> None:
    cv2.imwrite(str(path), np.full((8, 8), 7, kind))
    os.utime(path, (written, written))


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    """Two that a recorder has written one after the other, and one of a minute later."""
    seconds = LENGTH / RATE
    for number, later in enumerate((0, 0, 60)):
        write_segment(tmp_path, number, WRITTEN + number * seconds + later)
    return tmp_path


def test_segments_follow_on_each_other_and_begin_before_they_are_written(segments: Path) -> None:
    found = shots_in(segments, 3 * LENGTH)
    stamps, walls = np.array([(shot.stamp, shot.wall) for shot in found]).T
    expected = np.arange(3 * LENGTH) / RATE
    expected[2 * LENGTH :] += 60
    np.testing.assert_allclose(stamps, expected, atol=0.21)  # to a frame
    np.testing.assert_allclose(np.diff(stamps)[: 2 * LENGTH - 1], 1 / RATE, atol=1e-6)
    np.testing.assert_allclose(walls, WRITTEN - (LENGTH - 1) / RATE + expected, atol=1e-3)


@pytest.mark.parametrize("watched", [1, 30, LENGTH])
def test_a_segment_is_gone_on_with_in_time(segments: Path, watched: int) -> None:
    found = shots_in(segments, 2 * LENGTH, after=("0.mp4", watched - 1), since=100.0)
    assert [shot.known for shot in found] == [True] * watched + [False] * (2 * LENGTH - watched)
    assert found[watched - 1].stamp == pytest.approx(100)
    np.testing.assert_allclose(np.diff([shot.stamp for shot in found]), 1 / RATE, atol=1e-6)


def test_segments_have_their_own_rate(tmp_path: Path) -> None:
    write_segment(tmp_path, 0, WRITTEN, fps=2 * RATE)
    write_segment(tmp_path, 1, WRITTEN + LENGTH / RATE / 2, fps=2 * RATE)
    found = shots_in(tmp_path, LENGTH)
    np.testing.assert_allclose(np.diff([shot.stamp for shot in found]), 1 / RATE / 2, atol=1e-6)
    given = shots_in(tmp_path, LENGTH, given_rate=float(RATE))
    np.testing.assert_allclose(np.diff([shot.stamp for shot in given]), 1 / RATE, atol=1e-6)


def test_a_file_that_is_removed_before_it_is_watched_ends_nothing(tmp_path: Path) -> None:
    for number in range(3):
        write_picture(tmp_path / f"{number}.png", WRITTEN)
    told = list[str]()
    found = shots_of_folder(order(tmp_path), told.append, lambda: None)
    assert next(found).position == ("0.png", 0)
    (tmp_path / "1.png").unlink()
    assert next(found).position == ("2.png", 0)
    assert told == ["1.png is passed over: No such file or directory"]


def test_a_writer_whose_clock_is_fast_holds_nothing_up(tmp_path: Path) -> None:
    write_picture(tmp_path / "0.png", time.time() + 3600)
    began = time.monotonic()
    assert len(shots_in(tmp_path, 1)) == 1
    assert time.monotonic() - began < 10


def test_pictures_of_another_depth_are_passed_over_and_told_once(tmp_path: Path) -> None:
    for number, kind in enumerate((np.uint8, np.uint16, np.uint16, np.uint8)):
        write_picture(tmp_path / f"{number}.png", WRITTEN, kind)
    mailbox, pacer, messages = Mailbox(1, drops=False), Pacer(RATE), list[Any]()
    threading.Thread(target=FrameMaker(order(tmp_path), mailbox, pacer).run, daemon=True).start()
    while sum(isinstance(each, Delivery) for each in messages) < 4:
        message = mailbox.take(pacer, 10)
        assert message is not None
        messages.append(message)
    frames = [each.frames[0] for each in messages if isinstance(each, Delivery)]
    assert [frame.pixels is None for frame in frames] == [False, True, True, False]
    told = [each.text for each in messages if isinstance(each, Note)]
    assert told == ["1.png has 16 bits a pixel, and the model was trained on frames of 8"]


def test_a_folder_says_that_it_is_there_and_that_a_file_grows(tmp_path: Path) -> None:
    signs, path = list[float](), tmp_path / "0.png"
    found = shots_of_folder(order(tmp_path), pytest.fail, lambda: signs.append(time.monotonic()))
    path.write_bytes(b"not whole")
    growing = threading.Timer(0.7, write_picture, [path, WRITTEN])
    growing.start()
    assert next(found).image is not None
    assert len(signs) == 2


class Clock:
    """Time that passes where somebody sleeps."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("fast", [1e-3, 0.0])
@pytest.mark.parametrize("segment", [0.2, 2.0, 6.0])
def test_a_live_stream_is_played_evenly_and_never_falls_behind(
    monkeypatch: pytest.MonkeyPatch, segment: float, fast: float
) -> None:
    """An hour of a camera whose clock is fast and that sends segments, three of them at first."""
    clock = Clock()
    monkeypatch.setattr(shots, "time", clock)
    playback, fps, shown = Playback(shots.FASTER), 5, list[float]()
    for number in range(fps * 3600):
        taken = number / fps
        clock.now = max(clock.now, 3 * segment, (taken // segment + 1) * segment)  # a segment comes once it is whole
        playback.wait(taken * (1 + fast))
        shown.append(clock.now)
    behind = np.array(shown) - np.arange(len(shown)) / fps
    assert behind.max() < 3 * segment + 0.1
    assert behind[-1] < segment + 0.3
    assert (np.diff(shown) > 0.9 / fps).mean() > 0.99


def test_a_broken_segment_is_told_and_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "0.mp4").write_bytes(b"no video" * 100)
    os.utime(tmp_path / "0.mp4", (WRITTEN, WRITTEN))
    write_segment(tmp_path, 1, WRITTEN + LENGTH / RATE)
    told = list[str]()
    found = list(islice(shots_of_folder(order(tmp_path), told.append, lambda: None), 3))
    assert [(shot.position, shot.image is None) for shot in found] == [
        (("0.mp4", 0), True),
        (("1.mp4", 0), False),
        (("1.mp4", 1), False),
    ]
    assert len(told) == 1
    assert "0.mp4" in told[0]


def test_segments_that_name_no_length_are_as_long_as_the_one_before(
    segments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VideoFile, "expected", lambda _: 0)
    found = shots_in(segments, 2 * LENGTH)
    np.testing.assert_allclose(np.diff([shot.stamp for shot in found]), 1 / RATE, atol=1e-6)
    assert found[LENGTH].wall == pytest.approx(WRITTEN + 1 / RATE)
