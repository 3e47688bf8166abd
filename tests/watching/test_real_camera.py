"""A real camera: trained on the first part of what it has seen, watched over RTSP while something new crosses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import av
import cv2
import httpx
import numpy as np
import pytest
from mnad.pipeline.calibrate import CalibrateConfig, calibrate
from mnad.training import TrainConfig, train
from numpy.typing import NDArray

from tests.watching.samples import Frames, free_port, wait_for, watching, write_video
from tests.watching.servers import broker, rtsp_server
from tests.watching.test_sinks import Listener

NORMAL, SHOWN, CROSSING = 800, slice(1040, 1160), (60, 80)  # frames of the clip, and of what is shown
SIZE = (128, 72)


def clip(name: str) -> list[NDArray[np.uint8]]:
    if "MNAD_VIDEOS" not in os.environ:
        pytest.skip("MNAD_VIDEOS does not name a folder with clips of fixed cameras")
    with av.open(str(Path(os.environ["MNAD_VIDEOS"]) / name)) as container:
        frames = (frame.to_ndarray(format="bgr24") for frame in container.decode(video=0))
        return [np.asarray(cv2.resize(frame, SIZE, interpolation=cv2.INTER_AREA), np.uint8) for frame in frames]


def with_a_car(frames: Frames, car: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """A car of another scene crosses the pavement, which no car ever did."""
    shown = [frame.copy() for frame in frames]
    height, width = car.shape[:2]
    first, last = CROSSING
    for number in range(first, last):
        left = round(-width + (SIZE[0] + width) * (number - first) / (last - first))
        seen = slice(max(left, 0), min(left + width, SIZE[0]))
        shown[number][25 : 25 + height, seen] = car[:, seen.start - left : seen.stop - left]
    return shown


@pytest.fixture(scope="module")
def pavement(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A calibrated run of the first part of a clip, and the rest of it with a car."""
    folder = tmp_path_factory.mktemp("pavement")
    frames, car = clip("one-by-one-person-detection.mp4"), clip("car-detection.mp4")[50][20:60, 40:100]
    (folder / "normal").mkdir()
    write_video(folder / "normal" / "first.mp4", frames[:NORMAL], 10)
    rest = with_a_car(frames[SHOWN], np.asarray(cv2.resize(car, (40, 30)), np.uint8))
    write_video(folder / "rest.mp4", rest, 10)
    small = {"size": 64, "width": 8, "epochs": 4, "learning_rate": 1e-3, "hold_out": 0.2}
    train(TrainConfig(folder / "normal", folder / "run", accelerator="cpu", **small))
    calibrate(CalibrateConfig(folder / "run", folder / "normal", accelerator="cpu"))
    return folder / "run", folder / "rest.mp4"


def test_what_never_crossed_before_is_an_event_on_the_page_and_by_mqtt(
    pavement: tuple[Path, Path], tmp_path: Path
) -> None:
    run, video = pavement
    rtsp, mqtt, page = free_port(), free_port(), free_port()
    pipeline = f"filesrc location={video} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"
    with (
        rtsp_server(rtsp, pipeline),
        broker(mqtt, tmp_path / "broker"),
        Listener(mqtt) as listener,
        watching(
            tmp_path / "out",
            run,
            f"--source=pavement=rtsp://127.0.0.1:{rtsp}/live",
            f"--sink=house=mqtt://user:secret@127.0.0.1:{mqtt}",
            f"--page=127.0.0.1:{page}",
            "--min-length=3",
            "--merge-gap=3",
            "--after=1",
        ) as running,
    ):
        wait_for(lambda: "the stream ended" in running.said, 60)
        ended = wait_for(lambda: [line for line in running.lines if line["kind"] == "ended"])
        events = httpx.get(f"http://127.0.0.1:{page}/api/events").json()["events"]
        event = max(events, key=lambda each: each["score"])
        assert event["id"] in [line["id"] for line in ended]
        assert event["score"] > event["threshold"]
        scored = httpx.get(f"http://127.0.0.1:{page}/api/streams").json()["streams"][0]["frames"]["scored"] + 4
        missed = SHOWN.stop - SHOWN.start - scored  # at the beginning, until the first key frame has come
        assert event["first"] + missed < CROSSING[1]
        assert event["last"] + missed >= CROSSING[0]
        told = wait_for(lambda: [json.loads(payload) for payload in listener.on("mnad/pavement/event")])
        assert event["id"] in [each["id"] for each in told]
        with_files = wait_for(
            lambda: [
                each
                for each in httpx.get(f"http://127.0.0.1:{page}/api/events").json()["events"]
                if each["id"] == event["id"] and each["clip"] and each["picture"]
            ]
        )[0]
        for kind, beginning in (("picture", b"\xff\xd8"), ("clip", b"\x00\x00\x00")):
            got = httpx.get(f"http://127.0.0.1:{page}/api/events/{with_files[kind]}")
            assert got.status_code == 200
            assert got.content.startswith(beginning)
        running.stop()
