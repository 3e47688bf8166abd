"""What the tests of watching share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.watching.page_samples import NEVER, NOTE, PAST, PATH, SKY, Page, Server, put_past_events
from tests.watching.samples import all_test_frames, write_video
from tests.watching.servers import MjpegCamera

collect_ignore = ["rtsp_server.py"]  # for the system's own Python


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    with MjpegCamera() as running:
        yield running


@pytest.fixture(scope="module")
def camera_video(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three minutes of a camera."""
    frames = all_test_frames(synthetic)
    return write_video(tmp_path_factory.mktemp("page") / "camera.mp4", frames * (3 * 60 * 25 // len(frames)))


@pytest.fixture(scope="module")
def server(held_out: Path, camera_video: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    stream = {"address": str(camera_video), "threshold": NEVER}
    options = {
        "run": str(held_out),
        "realtime": True,
        "health": False,  # the synthetic set is dark
        "before": 0.5,
        "after": 0.5,
        "streams": {"gate": {**stream, "zones": [SKY, PATH]}, "yard": stream},
    }
    running = Server(tmp_path_factory.mktemp("watched"), options)
    put_past_events(running.out, "old", PAST, NOTE)
    running.start()
    yield running
    running.kill()


@pytest.fixture
def page(browser: webdriver.Chrome, server: Server) -> Iterator[Page]:
    for log in ("browser", "performance"):
        browser.get_log(log)
    page = Page(browser, server)
    yield page
    page.close()
    for name in ("gate", "yard"):
        if name in server.streams():
            server.change(name, threshold=NEVER, paused=False)
