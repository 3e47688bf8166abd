"""Cameras and receivers for tests, on the loopback address."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.watching.samples import FPS, wait_for

REQUIRED = os.environ.get("MNAD_REQUIRE_STREAMS") == "1"
SYSTEM_PYTHON = "/usr/bin/python3"
BALL = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,framerate=25/1 ! "
    "x264enc tune=zerolatency key-int-max=25 ! rtph264pay name=pay0 pt=96"
)


def missing(what: str) -> None:
    """Skips a test, or fails where real parts were promised."""
    if REQUIRED:
        pytest.fail(what)
    pytest.skip(f"{what}; MNAD_REQUIRE_STREAMS=1 makes this a failure")


@contextmanager
def rtsp_server(port: int, pipeline: str = BALL) -> Iterator[subprocess.Popen[str]]:
    """Runs an RTSP camera within the block."""
    script = Path(__file__).parent / "rtsp_server.py"
    try:
        server = subprocess.Popen([SYSTEM_PYTHON, script, str(port), pipeline], stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        missing("no Python of the system's own")
        raise
    try:
        assert server.stdout is not None
        if server.stdout.readline() != "ready\n":
            missing("no GStreamer RTSP server (Debian: python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-*)")
        yield server
    finally:
        server.kill()
        server.wait()


@contextmanager
def broker(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a mosquitto within the block, for the user ``user`` with the password ``secret``.

    It goes on with what an earlier one has left in the folder.
    """
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        missing("no mosquitto (Debian: apt-get install mosquitto)")
    assert program is not None
    folder.mkdir(exist_ok=True)
    passwords, config = folder / "passwords", folder / "mosquitto.conf"
    passwords.write_text("")
    subprocess.run(["mosquitto_passwd", "-b", str(passwords), "user", "secret"], check=True)
    passwords.chmod(0o644)
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nuser root\n"
        f"persistence true\npersistence_location {folder}/\n"
    )
    server = subprocess.Popen([program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield server
    finally:
        server.terminate()  # it then writes what it keeps for who is not connected
        server.send_signal(signal.SIGCONT)
        server.wait()


class Listener:
    """Somebody who listens to all topics of a broker, which keeps for him what comes while he is away."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
        self._client.username_pw_set("user", "secret")
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_message = lambda _client, _data, message: self.heard.append((message.topic, message.payload))
        self._client.connect_async("127.0.0.1", port)
        self._client.reconnect_delay_set(1, 1)
        self._client.loop_start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def on(self, topic: str) -> list[bytes]:
        return [payload for name, payload in self.heard if name == topic]


class MjpegCamera:
    """A camera that sends MJPEG over HTTP, and can be told to misbehave.

    Attributes:
        mode: ``frames``; ``stall``, which stops in the middle of one; ``rubbish`` in place of them; ``black``.
        size: Width and height of its pictures.
    """

    def __init__(self) -> None:
        self.mode, self.size = "frames", (64, 64)
        self.connections = 0
        self._number = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/video"

    def __enter__(self) -> MjpegCamera:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _picture(self) -> bytes:
        """A ball that moves over a picture with noise."""
        self._number += 1
        frame = np.random.default_rng(self._number).integers(90, 100, (self.size[1], self.size[0], 3), np.uint8)
        if self.mode == "black":
            return bytes(cv2.imencode(".jpg", frame - 88)[1])
        cv2.rectangle(frame, (5, 5), (20, 58), (220, 210, 200), 3)
        cv2.circle(frame, (self._number % self.size[0], self.size[1] // 2), 8, (40, 40, 200), -1)
        return bytes(cv2.imencode(".jpg", frame)[1])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                began, sent = time.monotonic(), 0
                with suppress(OSError):
                    while True:
                        part = camera._part()
                        self.wfile.write(part[: len(part) // 2])
                        wait_for(lambda: camera.mode != "stall", 60)
                        self.wfile.write(part[len(part) // 2 :])
                        sent += 1
                        time.sleep(max(0, began + sent / FPS - time.monotonic()))

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def _part(self) -> bytes:
        picture = self._picture()
        head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
        if self.mode == "rubbish":
            return head + np.random.default_rng(self._number).bytes(len(picture)) + b"\r\n"
        return head + picture + b"\r\n"


class Receiver:
    """A receiver of webhooks that can be told to fail.

    Attributes:
        status: What it answers; a failure at first.
        received: What came while that was a success: the header ``Idempotency-Key`` and the content.
        refused: How often it has failed.
    """

    def __init__(self, status: int = 503, port: int = 0) -> None:
        self.status, self.refused = status, 0
        self.received: list[tuple[str, dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if receiver.status == 200:
                    receiver.received.append((self.headers["Idempotency-Key"], content))
                else:
                    receiver.refused += 1
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://user:secret-word@127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
