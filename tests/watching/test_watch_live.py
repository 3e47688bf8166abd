"""``mnad watch`` on live streams that come, go, hang and send rubbish: each by itself, and none for ever."""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from mnad.watching.history import History

from tests.watching.samples import FPS, Watching, all_test_frames, free_port, wait_for, watching, write_video
from tests.watching.servers import MjpegCamera, rtsp_server

OPTIONS = ["--timeout=2", "--no-health"]


class Page:
    """What the page of a watching process says."""

    def __init__(self, running: Watching, port: int) -> None:
        self.running, self.url = running, f"http://127.0.0.1:{port}"

    def stream(self, name: str) -> dict[str, Any]:
        assert self.running.process.poll() is None, self.running.said
        try:
            found = httpx.get(f"{self.url}/api/streams", timeout=10).json()["streams"]
        except httpx.ConnectError:
            return {}
        return next(stream for stream in found if stream["name"] == name)

    def scored(self, name: str) -> int:
        return int(self.stream(name).get("frames", {}).get("scored", 0))

    def wait_until_scored(self, name: str, more: int = 25) -> None:
        enough = self.scored(name) + more
        wait_for(lambda: self.scored(name) >= enough)


def test_an_rtsp_server_dies_and_comes_back(held_out: Path, camera: MjpegCamera, tmp_path: Path) -> None:
    port, page_port = free_port(), free_port()
    sources = [f"--source=gate=rtsp://127.0.0.1:{port}/live", f"--source=yard={camera.url}"]
    with (
        rtsp_server(port) as server,
        watching(tmp_path, held_out, *sources, *OPTIONS, f"--page=127.0.0.1:{page_port}") as running,
    ):
        page = Page(running, page_port)
        page.wait_until_scored("gate", 50)
        gate = page.stream("gate")
        assert gate["rate"] == pytest.approx(25, rel=0.1)
        assert not gate["slow"]
        server.kill()
        server.wait()
        wait_for(lambda: page.stream("gate")["condition"] == "offline")
        page.wait_until_scored("yard")  # the other stream does not notice
        assert page.stream("yard")["restarts"] == 0
        before = page.scored("gate")
        with rtsp_server(port):
            wait_for(lambda: page.scored("gate") > before + 25, 60)
            assert page.stream("gate")["condition"] is None
            assert page.stream("gate")["restarts"] >= 1
        assert running.stop() == 0
    assert "gate: offline" in running.said
    assert "gate: well again" in running.said


def test_passwords_open_streams_and_are_never_printed(held_out: Path, tmp_path: Path) -> None:
    port, page_port = free_port(), free_port()
    users = {"right": "user:secret@", "wrong": "user:not-it@", "none": ""}
    sources = [f"--source={name}=rtsp://{user}127.0.0.1:{port}/private" for name, user in users.items()]
    with (
        rtsp_server(port),
        watching(tmp_path, held_out, *sources, *OPTIONS, f"--page=127.0.0.1:{page_port}") as running,
    ):
        page = Page(running, page_port)
        page.wait_until_scored("right")
        assert page.stream("right")["address"] == f"rtsp://127.0.0.1:{port}"
        for name in ("wrong", "none"):
            wait_for(lambda name=name: page.stream(name)["fault"] == "cannot be opened: user or password is wrong")
        commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _is_decoder(path)]
        assert len(commands) >= 1
        assert b"secret" not in b"".join(commands)
        running.stop()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"not-it" not in written
    assert b"user:secret" not in written


def _is_decoder(command: Path) -> bool:
    try:
        return b"mnad.watching.camera_process" in command.read_bytes()
    except OSError:
        return False


FAULTS = {
    "stall": ("nothing came for 2 s", "gave no frame for 2 s"),
    "rubbish": ("gave no frame for 2 s",),
    "size": ("its picture was 64 x 64 and is 96 x 64 now",),
}


def test_faulty_streams_are_opened_again_and_others_do_not_notice(held_out: Path, tmp_path: Path) -> None:
    page_port = free_port()
    with ExitStack() as stack:
        cameras = {name: stack.enter_context(MjpegCamera()) for name in (*FAULTS, "well")}
        sources = [f"--source={name}={camera.url}" for name, camera in cameras.items()]
        running = stack.enter_context(watching(tmp_path, held_out, *sources, *OPTIONS, f"--page=127.0.0.1:{page_port}"))
        page = Page(running, page_port)
        for name in cameras:
            page.wait_until_scored(name)
        cameras["stall"].mode, cameras["rubbish"].mode, cameras["size"].size = "stall", "rubbish", (96, 64)
        for name, words in FAULTS.items():
            wait_for(lambda name=name, words=words: any(f"{name}: {word}" in _sayings(running) for word in words))
        page.wait_until_scored("well")
        for camera in cameras.values():
            camera.mode = "frames"
        for name in cameras:
            page.wait_until_scored(name)
        assert page.stream("well")["restarts"] == 0
        assert all(cameras[name].connections >= 2 for name in FAULTS)
        assert running.stop() == 0


def _sayings(running: Watching) -> str:
    """What was said, without what each fault begins with."""
    return running.said.replace("broke off: ", "").replace(": it gave", ": gave")


def test_a_camera_that_sees_nothing_says_so_and_raises_no_alarm(
    held_out: Path, camera: MjpegCamera, tmp_path: Path
) -> None:
    page_port = free_port()
    options = ["--timeout=2", "--merge-gap=50", f"--page=127.0.0.1:{page_port}"]
    with watching(tmp_path, held_out, f"--source=gate={camera.url}", *options) as running:
        page = Page(running, page_port)
        page.wait_until_scored("gate", 50)
        often = float(np.median([score for _, score in page.stream("gate")["scores"]]))
        assert httpx.patch(f"{page.url}/api/streams/gate", json={"threshold": often}).is_success
        wait_for(lambda: page.stream("gate")["abnormal"])
        camera.mode = "black"
        wait_for(lambda: page.stream("gate")["condition"] == "black")
        before = page.scored("gate")
        wait_for(lambda: page.scored("gate") > before + 25)
        assert not page.stream("gate")["abnormal"]
        camera.mode = "frames"
        wait_for(lambda: page.stream("gate")["condition"] is None)
        wait_for(lambda: page.stream("gate")["abnormal"])
        running.stop()
    conditions = [line["condition"] for line in running.lines if line["kind"] == "health"]
    assert conditions == ["well", "black", "well"]
    assert running.events()[0]["note"] == "the camera is black"


def test_what_is_set_on_the_page_holds_over_a_restart(held_out: Path, camera: MjpegCamera, tmp_path: Path) -> None:
    page_port = free_port()
    arguments = [held_out, f"--source=gate={camera.url}", *OPTIONS, f"--page=127.0.0.1:{page_port}", "--save-every=0.2"]
    stream = f"http://127.0.0.1:{page_port}/api/streams/gate"
    with watching(tmp_path, *arguments) as running:
        page = Page(running, page_port)
        page.wait_until_scored("gate")
        assert httpx.patch(stream, json={"threshold": 0.625}).json()["threshold"] == 0.625
        assert httpx.patch(stream, content='{"threshold": 1e999}').status_code == 422
        assert httpx.patch(stream, json={"paused": True}).json()["state"] == "paused"
        before = page.scored("gate")
        time.sleep(1)
        assert page.scored("gate") == before
        assert httpx.patch(stream, json={"paused": False}).is_success
        page.wait_until_scored("gate")
        running.stop()
    with watching(tmp_path, *arguments) as running:
        page = Page(running, page_port)
        page.wait_until_scored("gate", 1)
        assert page.stream("gate")["threshold"] == 0.625
        running.stop()
    with watching(tmp_path, *arguments, "--threshold=0.75") as running:  # other options take its place
        page = Page(running, page_port)
        page.wait_until_scored("gate", 1)
        assert page.stream("gate")["threshold"] == 0.75
        running.stop()
    with History(tmp_path / "history.sqlite") as history:
        assert [threshold for threshold, _, _ in history.thresholds("gate")] == [0.625, 0.625]


def test_hls_is_played_at_its_own_speed(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    page_port, folder = free_port(), tmp_path / "hls"
    folder.mkdir()
    write_video(folder / "all.mp4", 3 * all_test_frames(synthetic))
    with av.open(str(folder / "all.mp4")) as source, av.open(str(folder / "live.m3u8"), "w", format="hls") as playlist:
        stream = playlist.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                playlist.mux(packet)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source_of = f"--source=hls=http://127.0.0.1:{server.server_port}/live.m3u8"
    with watching(tmp_path / "out", held_out, source_of, *OPTIONS, f"--page=127.0.0.1:{page_port}") as running:
        page = Page(running, page_port)
        page.wait_until_scored("hls", 1)
        before, began = page.stream("hls")["frames"]["read"], time.monotonic()
        wait_for(lambda: page.stream("hls")["frames"]["read"] > before + 100)
        assert time.monotonic() - began == pytest.approx(100 / FPS, abs=1.5)
        running.stop()
    server.shutdown()


def test_an_address_that_answers_nothing_is_tried_again_with_growing_pauses(held_out: Path, tmp_path: Path) -> None:
    port, page_port = free_port(), free_port()
    with watching(
        tmp_path, held_out, f"--source=gate=rtsp://127.0.0.1:{port}/live", *OPTIONS, f"--page=127.0.0.1:{page_port}"
    ) as running:
        page = Page(running, page_port)
        wait_for(lambda: page.stream("gate").get("restarts", 0) >= 2)
        assert page.stream("gate")["fault"] == "cannot be opened: Connection refused"
        assert page.stream("gate")["condition"] == "offline"
        with rtsp_server(port):
            page.wait_until_scored("gate")
        running.stop()
    assert running.said.count("cannot be opened: Connection refused") == 1


def test_a_folder_that_is_written_to(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    pictures = [path for folder in sorted((synthetic / "testing" / "frames").iterdir()) for path in folder.iterdir()]
    folder, page_port = tmp_path / "upload", free_port()
    folder.mkdir()

    def upload(first: int, last: int) -> None:
        for number in range(first, last):
            suffix = pictures[number].suffix
            shutil.copy(pictures[number], folder / f".part{suffix}")
            (folder / f".part{suffix}").rename(folder / f"picture{number}{suffix}")
            os.utime(folder / f"picture{number}{suffix}", (1e9, 1e9))

    upload(0, 20)
    arguments = [held_out, f"--source=drop={folder}", *OPTIONS, f"--page=127.0.0.1:{page_port}", "--save-every=0.2"]
    with watching(tmp_path / "out", *arguments) as running:
        page = Page(running, page_port)
        wait_for(lambda: page.scored("drop") == 16)
        (folder / f"picture20{pictures[0].suffix}").write_bytes(b"no picture")
        os.utime(folder / f"picture20{pictures[0].suffix}", (1e9, 1e9))
        upload(21, 30)
        wait_for(lambda: page.scored("drop") == 16 + 5)  # a new window begins behind what cannot be read
        assert page.stream("drop")["unreadable"] == 1
        assert running.stop() == 0
    assert "picture20" in running.said
    upload(30, 40)
    with watching(tmp_path / "out", *arguments) as running:  # goes on with the window as it was
        page = Page(running, page_port)
        wait_for(lambda: page.scored("drop") == 10)
        running.stop()


def test_a_recorder_that_writes_segments(held_out: Path, synthetic: Path, tmp_path: Path) -> None:
    frames, folder, page_port = all_test_frames(synthetic)[:60], tmp_path / "segments", free_port()
    folder.mkdir()
    for number in range(3):
        write_video(folder / f"{number}.mp4", frames[20 * number :][:20])
        os.utime(folder / f"{number}.mp4", (1e9, 1e9))
    with watching(
        tmp_path / "out", held_out, f"--source=drop={folder}", *OPTIONS, f"--page=127.0.0.1:{page_port}"
    ) as running:
        page = Page(running, page_port)
        wait_for(lambda: page.scored("drop") == 56)
        running.stop()


def test_a_stream_that_is_too_fast_for_the_machine_loses_frames_and_stays_in_time(
    held_out: Path, camera: MjpegCamera, tmp_path: Path
) -> None:
    page_port = free_port()
    with watching(
        tmp_path, held_out, f"--source=gate={camera.url}", *OPTIONS, f"--page=127.0.0.1:{page_port}"
    ) as running:
        page = Page(running, page_port)
        page.wait_until_scored("gate")
        for _ in range(20):  # each holds the loop up
            httpx.get(f"{page.url}/api/streams/gate/picture.jpg?heat=1", timeout=10)
        running.process.send_signal(19)
        time.sleep(3)
        running.process.send_signal(18)
        page.wait_until_scored("gate", 50)
        gate = page.stream("gate")
        assert gate["frames"]["dropped"] >= 2 * FPS
        assert time.time() - gate["scores"][-1][0] < 1
        running.stop()


def test_bad_requests_are_told_what_is_wrong(held_out: Path, camera: MjpegCamera, tmp_path: Path) -> None:
    port = free_port()
    with watching(tmp_path, held_out, f"--source=gate={camera.url}", *OPTIONS, f"--page=127.0.0.1:{port}") as running:
        url = Page(running, port).url + "/api"
        wait_for(lambda: "the page is at" in running.said)
        answers = [
            httpx.get(f"{url}/events?before={'9' * 20}"),
            httpx.get(f"{url}/events?limit={'9' * 5000}"),
            httpx.post(f"{url}/streams", content="[" * 100_000),
            httpx.post(f"{url}/streams", json={"name": "new", "address": "a" * 5000}),
            httpx.post(f"{url}/streams", json={"name": "new", "address": "a\0b"}),
        ]
        assert [answer.status_code for answer in answers] == [422] * len(answers)
        assert all(answer.json()["error"] for answer in answers)
        assert httpx.get(f"{url}/events/{'a' * 300}.mp4").status_code == 404
        running.stop()
    assert "Traceback" not in running.said


def test_a_token_that_no_browser_can_send_is_refused(held_out: Path, camera: MjpegCamera, tmp_path: Path) -> None:
    arguments = [held_out, f"--source=gate={camera.url}", f"--page=127.0.0.1:{free_port()}", "--token=tökén"]
    with watching(tmp_path, *arguments) as running:
        assert running.wait() == 2
    assert "the token of the page must be of letters, digits and signs of ASCII" in running.said
