from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mnad.cli import main
from mnad.report.layers import ColourRange, coloured, on_scale
from mnad.report.overlay import (
    CURVE,
    LINE,
    SIDE,
    OverlayConfig,
    blend,
    draw_curve,
    draw_video,
    write_overlays,
    write_video,
)
from mnad.runtime.errors import ConfigError, DataError, OutputError
from numpy.typing import NDArray

from tests.report.samples import FIRST_FRAME, VIDEOS, judged, level, write_run

pytestmark = pytest.mark.filterwarnings("ignore:no pixel AUC")
SMALL = {"01": 12, "gate/9": 3}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("small") / "run", videos=SMALL)


def read_back(path: Path) -> NDArray[np.uint8]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        found, frame = capture.read()
        if not found:
            return np.array(frames, np.uint8)
        frames.append(frame)


def test_all_videos_with_all_their_frames(small: Path, tmp_path: Path) -> None:
    files = write_overlays(OverlayConfig(small, tmp_path / "videos", fps=5))
    assert files == [tmp_path / "videos" / "01.mp4", tmp_path / "videos" / "gate" / "9.mp4"]
    for file, count in zip(files, SMALL.values(), strict=True):
        frames = read_back(file)
        assert frames.shape == (count, SIDE + LINE + CURVE, SIDE, 3)
        for place, frame in enumerate(frames):
            assert abs(float(frame[300:400, 300:400].mean()) - float(level(FIRST_FRAME + place))) < 4
        assert cv2.VideoCapture(str(file)).get(cv2.CAP_PROP_FPS) == 5
    assert sorted(path.name for path in (tmp_path / "videos").rglob("*.mp4")) == ["01.mp4", "9.mp4"]
    assert not list((tmp_path / "videos").rglob(".*"))


def test_one_video_that_browsers_play(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.mp4"
    assert write_overlays(OverlayConfig(small, out, video="gate/9", codec="vp09")) == [out]
    assert len(read_back(out)) == 3


def test_the_heatmap_leaves_what_is_cold_and_covers_what_is_hot() -> None:
    picture = np.full((2, 2, 3), 100, np.uint8)
    heat = np.array([[0, 0], [255, 0]], np.uint8)
    mixed = blend(picture, heat)
    assert (mixed[0] == 100).all()
    assert np.array_equal(mixed[1, 1], [100, 100, 100])
    assert np.abs(mixed[1, 0] - (0.2 * 100 + 0.8 * coloured(heat)[1, 0])).max() <= 0.5


def test_the_scale_is_that_of_the_root() -> None:
    values = np.array([[0, 0.01], [0.25, 4]], np.float16)
    assert on_scale(values, ColourRange(0, 1)).tolist() == [[0, 26], [128, 255]]


def test_the_picture_shows_error_cursor_label_and_alarm(by_hand: Path) -> None:
    material, judgement = judged(by_hand)
    frames = list(draw_video(material, judgement, 0))
    assert len(frames) == VIDEOS["01"]
    labelled = judgement.videos[0].labelled[0]
    normal, abnormal = frames[labelled.first - 1], frames[labelled.first + 5]
    spot = (slice(150, 210), slice(150, 210))  # cells 8 to 15 of 32 are hot, from pixel 120 to 240
    assert np.ptp(normal[spot], axis=2).max() == 0
    assert np.ptp(abnormal[spot], axis=2).min() > 50

    curve = draw_curve(judgement, judgement.videos[0])
    for place, frame in enumerate(frames):
        changed = np.flatnonzero((frame[-CURVE:] != curve).any(axis=(0, 2)))
        assert abs(changed.mean() - (place + 0.5) * SIDE / len(frames)) <= 1
    shaded = np.flatnonzero((curve[-1] != curve[-1, 0]).any(axis=1))
    width = SIDE / len(frames)
    assert abs(shaded.min() - labelled.first * width) <= 1
    assert abs(shaded.max() - (labelled.last + 1) * width) <= 1.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "videos", "video": "01"}, "must be a file NAME.mp4"),
        ({"out": "one.mp4"}, "must be a folder"),
        ({"out": "videos", "fps": 0}, "fps must be greater than 0"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, str], words: str, small: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        OverlayConfig(small, **{**options, "out": Path(options["out"])})  # type: ignore[arg-type]


def test_a_video_that_is_not_there(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["overlay", str(small), "--video", "07", "--out", str(tmp_path / "07.mp4")]) == 2
    assert "there is no video '07'; there are 01, gate/9" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../out", "/tmp/out"])
def test_no_file_outside_the_folder(name: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", videos={name: 3})
    with pytest.raises(DataError, match="no name for a file"):
        write_overlays(OverlayConfig(run, tmp_path / "videos"))


def test_a_video_that_is_cut_short_does_not_take_its_place(tmp_path: Path) -> None:
    out = tmp_path / "video.mp4"
    out.write_bytes(b"as it was")
    frames = np.zeros((3, 64, 64, 3), np.uint8)
    with pytest.raises(OutputError, match="would hold 3 frames in place of 4"):
        write_video(out, iter(frames), 4, 10)
    assert out.read_bytes() == b"as it was"
    assert list(tmp_path.iterdir()) == [out]


def test_the_command(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shutil.copytree(small, tmp_path / "run")
    assert main(["overlay", str(run), "--out", str(tmp_path / "out"), "--threshold", "0.5"]) == 0
    written = [tmp_path / "out" / name for name in ("01.mp4", "gate/9.mp4")]
    assert capsys.readouterr().out.splitlines() == [f"wrote {file}" for file in written]
