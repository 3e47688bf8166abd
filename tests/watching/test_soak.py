"""Hours of watching: memory stays flat, nothing leaks, nothing is left behind, and who was down is told all.

MNAD_SOAK_SECONDS says for how long, half a minute if it is not set.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.watching.samples import Watching, children_of, free_port, wait_for, watching
from tests.watching.servers import Listener, MjpegCamera, Receiver, broker

SECONDS = float(os.environ.get("MNAD_SOAK_SECONDS", "30"))
LOOKS = 30
# The broker and the receiver are down from the first of these looks to the second: a minute of three.
DOWN, UP = 2, 12
# What grows without end grows by more than this share from the second third of the time to the last.
GROWTH = 0.03


Counts = NDArray[np.float64]


def megabytes(processes: list[int]) -> float:
    """The memory that is in use by some processes and by no other one."""
    total = 0
    for process in processes:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean", "Private_Dirty")):
                total += int(line.split()[1])
    return total / 1024


def looked_at(running: Watching) -> tuple[float, int, int]:
    """Memory in megabytes, open files, and threads of the watching process and of those that decode."""
    process = running.process.pid
    processes = [process, *children_of(process)]
    files = sum(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in processes)
    threads = sum(len(list(Path(f"/proc/{each}/task").iterdir())) for each in processes)
    return megabytes(processes), files, threads


def test_four_streams_with_events_and_a_visitor_leak_nothing(held_out: Path, tmp_path: Path) -> None:
    page, sinks = free_port(), Sinks(tmp_path / "sinks")
    with ExitStack() as stack:
        cameras = [stack.enter_context(MjpegCamera()) for _ in range(4)]
        sources = [f"--source=camera{index}={camera.url}" for index, camera in enumerate(cameras)]
        options = [f"--page=127.0.0.1:{page}", "--save-every=1", "--keep-gigabytes=0.0005", "--before=1"]
        stack.enter_context(sinks)
        arguments = [held_out, *sources, *options, "--after=1", "--longest=5", *sinks.options]
        running = stack.enter_context(watching(tmp_path / "out", *arguments))
        url = f"http://127.0.0.1:{page}/api"
        _raise_alarms_now_and_then(url)
        wait_for(running.events)
        looks = []
        for number in range(LOOKS):
            if number in (DOWN, UP):
                sinks.be_there(number == UP)
            time.sleep(SECONDS / LOOKS)
            assert running.process.poll() is None, running.said
            streams = httpx.get(f"{url}/streams", timeout=10).json()["streams"]
            httpx.get(f"{url}/streams/camera0/picture.jpg?heat=1", timeout=10)
            httpx.get(f"{url}/events", timeout=10)
            looks.append(looked_at(running))
        children = children_of(running.process.pid)
        assert len(children) == 4
        assert all(stream["frames"]["dropped"] < 0.05 * stream["frames"]["scored"] for stream in streams)
        wait_for(lambda: running.said.count("is told again") == 2, 120)
        assert running.stop() == 0
        assert not any(Path(f"/proc/{child}").exists() for child in children)
        sinks.check(running)
    _check_flat(*np.array(looks).T)
    assert "Traceback" not in running.said


class Sinks:
    """A broker and a receiver of webhooks that can go away and come back."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ports = folder, (free_port(), free_port())
        self._there, self._rest = ExitStack(), ExitStack()
        self._receivers: list[Receiver] = []
        broker_port, receiver_port = self.ports
        self.options = [
            f"--sink=house=mqtt://user:secret@127.0.0.1:{broker_port}/cameras",
            f"--sink=phone=http://127.0.0.1:{receiver_port}/hook",
        ]

    def __enter__(self) -> Sinks:
        self.be_there(True)
        self._listener = self._rest.enter_context(Listener(self.ports[0]))
        return self

    def __exit__(self, *_: object) -> None:
        self._rest.close()
        self._there.close()

    def be_there(self, there: bool) -> None:
        self._there.close()
        if there:
            self._there.enter_context(broker(self.ports[0], self.folder))
            self._receivers.append(self._there.enter_context(Receiver(200, self.ports[1])))

    def check(self, running: Watching) -> None:
        """Each notice of an event has come to each of them, once, and in the order in which others heard of it."""
        keys = [line["key"] for line in running.told]
        received = [
            key for receiver in self._receivers for key, content in receiver.received if content["kind"] != "health"
        ]
        assert received == keys
        assert len(keys) > 10
        for index in range(4):
            of_stream = [line["key"] for line in running.told if line["stream"] == f"camera{index}"]
            topic, enough = f"cameras/camera{index}/event", len(of_stream)
            wait_for(lambda topic=topic, enough=enough: len(self._listener.on(topic)) >= enough)
            assert [json.loads(payload)["key"] for payload in self._listener.on(topic)] == of_stream


def _check_flat(memory: Counts, files: Counts, threads: Counts) -> None:
    """From the second third of the time to the last, nothing has grown."""
    third = LOOKS // 3
    before, after = np.median(memory[third : 2 * third]), np.median(memory[2 * third :])
    print(f"{SECONDS:g} s: {before:.0f} MB, then {after:.0f} MB; {files.max():.0f} files, {threads.max():.0f} threads")
    assert after <= before * (1 + GROWTH), memory.round(1).tolist()
    for counts in (files, threads):  # they come and go; what leaks is always there
        assert counts[2 * third :].min() <= np.median(counts[third : 2 * third]) + 2, counts.tolist()


def _raise_alarms_now_and_then(url: str) -> None:
    """Sets thresholds that a frame in ten is above."""

    def scores() -> list[list[float]]:
        try:
            streams = httpx.get(f"{url}/streams", timeout=10).json()["streams"]
        except httpx.ConnectError:
            return []
        found = [[score for _, score in stream["scores"]] for stream in streams]
        return found if all(len(each) > 100 for each in found) else []

    for index, found in enumerate(wait_for(scores)):
        threshold = float(np.quantile(found, 0.9))
        assert httpx.patch(f"{url}/streams/camera{index}", json={"threshold": threshold}, timeout=10).is_success


def test_a_killed_process_leaves_no_decoder_behind(held_out: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with MjpegCamera() as camera:
        sources = [f"--source=gate={camera.url}", f"--source=drop={tmp_path / 'folder'}"]
        with watching(tmp_path / "out", held_out, *sources) as running:
            children = wait_for(lambda: len(found := children_of(running.process.pid)) == 2 and found)
            time.sleep(1)
            camera.mode = "stall"
            running.stop(signal.SIGKILL)
            wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
