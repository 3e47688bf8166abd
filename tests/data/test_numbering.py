"""Which number a frame has: in files whose times are wrong, begin again or have holes, and in damaged ones."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.data.field import all_but, moving, packets_of, read_numbers, spoil, wipe, write_video


def test_frames_that_need_a_lost_first_one_are_lost_with_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving(60), g="30", bf="2")
    wipe(path, 0)
    assert read_numbers(path) == (all_but(60, *range(30)), [])


def test_avi_whose_times_say_nothing_of_the_order(tmp_path: Path) -> None:
    """It has the order of decoding alone, and empty places where a copied video has a finer clock."""
    twice = [frame for frame in moving(60) for _ in range(2)]
    path = write_video(tmp_path / "a.avi", twice, bf="3", g="30", rate=50, left_out=range(1, 120, 2))
    with av.open(str(path)) as opened:
        assert opened.streams.video[0].frames == 119
    assert read_numbers(path) == (all_but(60), [])
    path = write_video(tmp_path / "b.avi", moving(60), bf="3", g="30")
    spoil(path, 20)
    found, told = read_numbers(path)
    assert (len(found), found.count(None)) == (60, 1)
    assert found[:17] + found[22:] == [*range(17), *range(22, 60)]
    assert told[0].startswith("gave 60 frames of 60, and has no times that say which are missing")


@pytest.mark.parametrize("name", ["a.ts", "a.mpg", "a.vob"])
def test_recordings_that_were_joined_byte_by_byte(tmp_path: Path, name: str) -> None:
    """Their times begin again in the middle."""
    codec, container = ("libx264", "mpegts") if name == "a.ts" else ("mpeg2video", None)
    frames, path = moving(80), tmp_path / name
    for part in (frames[:40], frames[40:]):
        write_video(tmp_path / "parts" / name, part, codec, bf="2", g="20", container=container)
        with path.open("ab") as joined:
            joined.write((tmp_path / "parts" / name).read_bytes())
    assert read_numbers(path) == (all_but(80), [])


def test_frames_that_are_lost_with_their_packets(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", moving(60), g="10", bf="0")
    wipe(path, 30, 36)  # and what is behind it, as far as the next mark that a reader can find
    assert read_numbers(path) == (all_but(60, *range(30, 50)), [])
    path = write_video(tmp_path / "a.ts", moving(60), g="10", bf="0", container="mpegts")
    places = [packet.pos for packet in packets_of(path)]
    path.write_bytes(path.read_bytes()[: places[30]] + path.read_bytes()[places[35] :])
    found, told = read_numbers(path)
    assert found[:30] + found[40:] == [*range(30), *range(40, 60)]
    assert found[30:35] == [None] * 5
    assert not told


def test_a_hole_in_the_times_of_a_whole_file_is_told(tmp_path: Path) -> None:
    """A recorder that left frames out, or a file that lost them: nothing says which."""
    for name, codec, pixels in (("a.avi", "mjpeg", "yuvj420p"), ("a.mkv", "libx264", "yuv420p")):
        path = write_video(tmp_path / name, moving(60), codec, pixels, left_out=range(20, 25))
        found, told = read_numbers(path)
        assert found == [*range(20), *range(25, 60)]
        assert len(told) == 1
        assert told[0].startswith("has 1 hole(s) in its times, the first of 0.24 s after frame 19: if frames were lost")


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_varying_rate_has_no_holes(tmp_path: Path, name: str) -> None:
    left_out = (5, 11, 12, 13, 20, 30, 40, 41, 43)
    path = write_video(tmp_path / name, moving(60), left_out=left_out)
    assert read_numbers(path) == ([number for number in range(60) if number not in left_out], [])


@pytest.mark.parametrize(
    ("name", "container", "rate", "options"),
    [
        ("a.wmv", "asf", 30, {"bf": "3"}),  # its clock has whole milliseconds, which 30 frames a second have not
        ("a.avi", None, 25, {"bf": "16", "refs": "16", "x264-params": "b-adapt=0:bframes=16:b-pyramid=normal:ref=16"}),
        ("a.ts", "mpegts", 25, {"bf": "16", "refs": "16", "x264-params": "b-adapt=0:bframes=16:ref=16"}),
        ("a.flv", None, 120, {"bf": "3"}),
        ("a.mkv", None, 1, {"bf": "2"}),
    ],
)
def test_whole_files_are_in_order_and_nothing_is_said(
    tmp_path: Path, name: str, container: str | None, rate: int, options: dict[str, str]
) -> None:
    path = write_video(tmp_path / name, moving(60), container=container, rate=rate, **options)
    assert read_numbers(path) == (all_but(60), [])


def joined(folder: Path, name: str, *parts: dict[str, str], cut_off: float = 1) -> Path:
    """Joins parts of 40 frames each byte by byte, the first one cut off."""
    path = folder / name
    frames = moving(40 * len(parts))
    for number, options in enumerate(parts):
        part = write_video(folder / f"part{number}.ts", frames[40 * number :][:40], container="mpegts", **options)
        data = part.read_bytes()
        with path.open("ab") as out:
            out.write(data[: int(len(data) * cut_off)] if number == 0 else data)
    return path


@pytest.mark.parametrize("bf", [("3", "0"), ("0", "3")])
def test_parts_that_were_encoded_in_different_ways(tmp_path: Path, bf: tuple[str, str]) -> None:
    path = joined(tmp_path, "a.ts", {"bf": bf[0], "g": "20"}, {"bf": bf[1], "g": "7"}, {"bf": "2", "g": "20"})
    assert read_numbers(path) == (all_but(120), [])


def test_a_part_that_was_cut_off(tmp_path: Path) -> None:
    found, _ = read_numbers(joined(tmp_path, "a.ts", {"bf": "3", "g": "20"}, {"bf": "3", "g": "20"}, cut_off=0.8))
    read = [number for number in found if number is not None]
    assert read == sorted(read)
    assert found[-40:] == list(range(40, 80))


def test_a_part_whose_clock_is_ahead(tmp_path: Path) -> None:
    """A recorder that was stopped for a while: nothing is lost, and it is told."""
    frames = moving(80)
    first = write_video(tmp_path / "a.ts", frames[:40], container="mpegts", g="20")
    late = [frames[0]] * 125 + frames[40:]
    second = write_video(tmp_path / "b.ts", late, container="mpegts", g="20", left_out=range(125))
    first.write_bytes(first.read_bytes() + second.read_bytes())
    found, told = read_numbers(first)
    assert found == list(range(80))
    assert len(told) == 1
    assert "has 1 hole(s) in its times" in told[0]


def test_an_avi_that_lost_frames_inside(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", moving(60), "mjpeg", "yuvj420p")
    places = [packet.pos - 8 for packet in packets_of(path)]
    path.write_bytes(path.read_bytes()[: places[20]] + path.read_bytes()[places[24] :])
    found, told = read_numbers(path)
    assert len(found) == 56
    assert told[0].startswith("ends early: 56 of 60 frames can be read; if some are lost inside, the numbers of later")


def test_a_file_behind_a_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.flv", moving(60), "flv1")
    path.write_bytes(path.read_bytes() * 2)
    found, told = read_numbers(path)
    assert found == list(range(60))
    assert "what is behind it is damaged or another file" in told[0]


def test_a_second_video_in_the_file(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        streams = [out.add_stream("mjpeg", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 96, 96, "yuvj420p"
        for number, frame in enumerate(moving(20)):
            for stream in streams:
                picture = av.VideoFrame.from_ndarray(frame, format="bgr24").reformat(format="yuvj420p")
                picture.pts = number
                out.mux(stream.encode(picture))
        for stream in streams:
            out.mux(stream.encode())
    found, told = read_numbers(tmp_path / "a.mkv")
    assert found == list(range(20))
    assert told[0].startswith("holds 1 more video(s), which are left out: the first is read")


def test_a_packet_of_a_stream_that_nothing_tells_of(tmp_path: Path) -> None:
    """PyAV fails at it; the frames of the first stream go on."""
    path = write_video(tmp_path / "a.ts", moving(40), container="mpegts", g="1", bf="0")
    data = bytearray(path.read_bytes())
    begins = [place for place in range(0, len(data), 188) if data[place + 1 : place + 3] == b"\x41\x00"]
    data[begins[30] + 1] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(IndexError), av.open(str(path)) as opened:
        list(opened.demux(opened.streams.video[0]))
    found, _ = read_numbers(path)
    assert found[:29] == list(range(29))
    assert found[31:] == list(range(31, 40))
