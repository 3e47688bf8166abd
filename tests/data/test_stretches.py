"""Parts of video files are those frames that the whole file gives under the same numbers."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from mnad.data.stretches import NotInPartsError, VideoStretch
from mnad.data.video import VideoFile

FRAMES = 90


def write(path: Path, codec: str = "mpeg4", *, skip: tuple[int, ...] = (), **options: str) -> VideoFile:
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width = stream.height = 48
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 12
        for index in range(FRAMES):
            pixels = np.full((48, 48, 3), 2 * index, np.uint8) + random.integers(0, 20, (48, 48, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = index + sum(index >= place for place in skip)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return VideoFile(path)


def same_frames(video: VideoFile, first: int, last: int | None) -> None:
    ours = list(VideoStretch(video, first, last).read(3))
    theirs = list(islice(video.read(3), first, last))
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_array_equal(one, other)


PARTS = [(0, 20), (13, 14), (24, 60), (37, None), (80, 200)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_parts_of_a_file(tmp_path: Path, name: str, codec: str) -> None:
    """With frames that need later ones."""
    video = write(tmp_path / name, codec, bf="2")
    for first, last in PARTS:
        same_frames(video, first, last)


def test_what_comes_before_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write(tmp_path / "a.mp4", "libx264")
    monkeypatch.setattr(VideoFile, "decoded", None)
    assert len(list(VideoStretch(video, 37, 60).read(1))) == 23
    assert len(list(VideoStretch(video, 80, None).read(1))) == FRAMES - 80


def refused(video: VideoFile, first: int, last: int | None) -> bool:
    try:
        same_frames(video, first, last)
    except NotInPartsError:
        return True
    return False


def test_a_hole_in_the_times(tmp_path: Path) -> None:
    """Then a number is no place among the times of packets for certain."""
    video = write(tmp_path / "a.mkv", skip=(30,))
    assert all(refused(video, *part) for part in PARTS)


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_a_damaged_file_is_refused_where_the_damage_is(tmp_path: Path, place: float) -> None:
    """All parts together would not give what the whole gives, so one at least is refused."""
    video = write(tmp_path / "a.mp4", "libx264")
    data = bytearray(video.path.read_bytes())
    begin = int(len(data) * place)
    data[begin : begin + 400] = bytes(400)
    video.path.write_bytes(data)
    parts = [(0, 30), (30, 60), (60, None)]
    found = []
    for first, last in parts:
        try:
            found.append(len(list(VideoStretch(video, first, last).read(3))))
        except NotInPartsError:
            found.append(0)
    assert 0 in found


def test_a_file_that_was_cut_off(tmp_path: Path) -> None:
    video = write(tmp_path / "a.mkv")
    video.path.write_bytes(video.path.read_bytes()[: int(video.path.stat().st_size * 0.9)])
    assert refused(video, 0, 20)


def test_behind_the_end(tmp_path: Path) -> None:
    with pytest.raises(NotInPartsError, match="from 90 on"):
        list(VideoStretch(write(tmp_path / "a.mp4"), FRAMES, None).read(3))


def test_parts_of_recordings_of_real_cameras() -> None:
    if "MNAD_VIDEOS" not in os.environ:
        pytest.skip("MNAD_VIDEOS names no folder of clips of fixed cameras")
    for file in sorted(Path(os.environ["MNAD_VIDEOS"]).glob("*.mp4")):
        same_frames(VideoFile(file), 250, 300)
