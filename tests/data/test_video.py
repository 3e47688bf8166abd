"""Video files of every kind, whole, damaged and cut: each frame under its own number."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from mnad.data.levels import Levels
from mnad.data.video import VideoFile
from mnad.runtime.errors import DataError

from tests.data.field import all_but, cut, moving, read_numbers, spoil, write_video

KINDS = {
    "a.mp4": ("libx264", "yuv420p", None),
    "a.mov": ("prores_ks", "yuv422p10le", None),
    "a.mkv": ("libx265", "yuv420p", None),
    "a.avi": ("mjpeg", "yuvj420p", None),
    "b.avi": ("mpeg4", "yuv420p", None),
    "c.avi": ("libx264", "yuv420p", None),
    "a.gif": ("gif", "rgb8", None),
    "a.webm": ("libvpx-vp9", "yuv420p", None),
    "b.webm": ("libvpx", "yuv420p", None),
    "a.3gp": ("libx264", "yuv420p", None),
    "a.264": ("libx264", "yuv420p", "h264"),
    "a.265": ("libx265", "yuv420p", "hevc"),
    "a.mts": ("libx264", "yuv420p", "mpegts"),
    "a.dav": ("libx264", "yuv420p", "h264"),
    "a.wmv": ("wmv2", "yuv420p", "asf"),
    "a.flv": ("flv1", "yuv420p", None),
    "a.mpg": ("mpeg2video", "yuv420p", None),
    "a.mjpeg": ("mjpeg", "yuvj420p", "mjpeg"),
    "a.y4m": ("wrapped_avframe", "yuv420p", "yuv4mpegpipe"),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_of_every_kind(tmp_path: Path, name: str) -> None:
    codec, pixels, container = KINDS[name]
    path = write_video(tmp_path / name, moving(60), codec, pixels, container=container, rate=10)
    assert read_numbers(path) == (all_but(60), [])
    if name not in ("a.264", "a.265", "a.dav", "a.mjpeg"):  # bare streams of pictures say nothing of times
        assert VideoFile(path).rate() == 10
    sampled = list(VideoFile(path).sample(1, 4))
    assert 0 < len(sampled) <= 4
    assert all(frame.shape == (96, 96, 1) for frame in sampled)


@pytest.mark.parametrize(("name", "packet"), [("a.avi", 20), ("a.avi", 0), ("a.mov", 20), ("a.mp4", 20), ("b.avi", 20)])
def test_a_frame_that_cannot_be_read_is_missing_and_the_others_keep_their_numbers(
    tmp_path: Path, name: str, packet: int
) -> None:
    codec, pixels, container = KINDS[name]
    path = write_video(tmp_path / name, moving(60), codec, pixels, container=container, g="1")
    spoil(path, packet)
    assert read_numbers(path) == (all_but(60, packet), [])


def test_frames_that_are_shown_in_another_order_than_they_are_stored_in(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving(60), bf="3", g="30")
    spoil(path, 20)
    found, told = read_numbers(path)
    missing = [index for index, number in enumerate(found) if number is None]
    assert (len(found), told) == (60, [])
    assert len(missing) == 1
    assert abs(missing[0] - 20) <= 4
    assert all(number in (None, index) for index, number in enumerate(found[: missing[0]]))


def test_a_file_that_was_cut_off(tmp_path: Path) -> None:
    for name in ("a.avi", "a.webm", "a.wmv"):
        codec, pixels, container = KINDS[name]
        path = write_video(tmp_path / name, moving(60), codec, pixels, container=container)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        found, told = read_numbers(path)
        read = [number for number in found if number is not None]
        assert 5 < len(read) < 55
        assert read == list(range(len(read)))
        assert "ends early" in told[0]
    path = write_video(tmp_path / "a.mp4", moving(60))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"a.mp4 is not a video that FFmpeg can read: (Invalid data found|End of file)"):
        read_numbers(path)


def test_a_clip_cut_without_encoding_it_again_is_whole(tmp_path: Path) -> None:
    source = write_video(tmp_path / "all.mp4", moving(60), g="20", bf="2", **{"x264-params": "scenecut=0"})
    # Kept from frame 20 on, where it can be decoded, and shown from 27 on: the header counts 40.
    assert read_numbers(cut(source, tmp_path / "a.mp4", 20, 27)) == (list(range(27, 60)), [])
    # Begins in the middle of a group of pictures: what comes before its first whole picture is no part of it.
    for name in ("b.mp4", "b.mkv", "b.ts"):
        container = "mpegts" if name == "b.ts" else None
        assert read_numbers(cut(source, tmp_path / name, 27, 20, container)) == (list(range(40, 60)), [])


def test_a_picture_that_is_attached_is_no_video(tmp_path: Path) -> None:
    source = write_video(tmp_path / "all.mp4", moving(20))
    ok, cover = cv2.imencode(".png", np.zeros((SIDE := 48, SIDE, 3), np.uint8))
    assert ok
    for name, videos in (("a.mp4", 1), ("b.mp4", 0)):
        with av.open(str(source)) as opened, av.open(str(tmp_path / name), "w") as out:
            picture = out.add_stream("png", rate=1)
            picture.width = picture.height = SIDE
            picture.pix_fmt = "rgb24"
            picture.disposition = int(av.stream.Disposition.attached_pic)
            stream = out.add_stream_from_template(opened.streams.video[0]) if videos else None
            packet = av.Packet(cover.tobytes())
            packet.stream, packet.pts, packet.dts = picture, 0, 0
            out.mux(packet)
            for packet in opened.demux(opened.streams.video[0]) if stream else []:
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    assert read_numbers(tmp_path / "a.mp4") == (all_but(20), [])
    with pytest.raises(DataError, match=r"b.mp4 holds no video: a picture"):
        read_numbers(tmp_path / "b.mp4")


@pytest.mark.parametrize("pixels", ["gray16le", "gray10le"])
def test_a_thermal_camera_keeps_its_levels(tmp_path: Path, pixels: str) -> None:
    frames = [np.full((32, 48), 7808 + 64 * index, np.uint16) for index in range(5)]
    path = write_video(tmp_path / "a.mkv", frames, "ffv1", pixels)
    with pytest.raises(DataError, match=r"has 16 bits a pixel, and nothing says which value is black"):
        list(VideoFile(path).read(3))
    found = [int(frame[5, 5, 0]) for frame in VideoFile(path).read(1, Levels(7700, 8210)) if frame is not None]
    assert np.abs(np.diff(found) - 32).max() <= 1


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), 3), ((0, -1, 1, 0), 1), ((-1, 0, 0, -1), 2)])
def test_a_phone_held_upright(tmp_path: Path, matrix: tuple[int, ...], turns: int) -> None:
    path = write_video(tmp_path / "a.mp4", moving(8), qp="0")
    plain = [frame for frame in VideoFile(path).read(3) if frame is not None]
    one = (1 << 16).to_bytes(4, "big", signed=True)
    upright = one + bytes(12) + one
    turned = b"".join(
        (value << 16).to_bytes(4, "big", signed=True) + bytes(4 * (index == 1)) for index, value in enumerate(matrix)
    )
    data = path.read_bytes()
    place = data.index(b"tkhd")
    data = data[:place] + data[place:].replace(upright, turned, 1)
    path.write_bytes(data)
    for frame, expected in zip(VideoFile(path).read(3), plain, strict=True):
        assert np.array_equal(frame, np.rot90(expected, turns))  # type: ignore[arg-type]
    ok, by_opencv = cv2.VideoCapture(str(path)).read()
    assert ok
    assert np.array_equal(by_opencv, np.rot90(plain[0], turns))


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n")
    for name in ("a.mp4", "list.mp4"):
        with pytest.raises(DataError, match=f"{name} (is not a video that FFmpeg can read|holds no video)"):
            read_numbers(tmp_path / name)
    with pytest.raises(DataError, match=r"the file .*b.mp4 does not exist"):
        read_numbers(tmp_path / "b.mp4")
