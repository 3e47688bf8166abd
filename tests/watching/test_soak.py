"""Hours of watching: memory stays flat, nothing leaks, nothing is left behind.

MNAD_SOAK_SECONDS says for how long, half a minute if it is not set.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import numpy as np

from tests.watching.samples import Watching, free_port, wait_for, watching
from tests.watching.servers import MjpegCamera

SECONDS = float(os.environ.get("MNAD_SOAK_SECONDS", "30"))
LOOKS = 30
# What grows without end grows by more than this share from the second third of the time to the last.
GROWTH = 0.03


def children_of(process: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            status = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(status[1]) == process and status[0] != "Z":
            found.append(int(path.parent.name))
    return found


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
    page = free_port()
    cameras = [MjpegCamera() for _ in range(4)]
    for camera in cameras:
        camera.__enter__()
    sources = [f"--source=camera{index}={camera.url}" for index, camera in enumerate(cameras)]
    options = [f"--page=127.0.0.1:{page}", "--save-every=1", "--keep-gigabytes=0.0005", "--before=1"]
    with watching(tmp_path, held_out, *sources, *options, "--after=1", "--longest=5") as running:
        url = f"http://127.0.0.1:{page}/api"
        _raise_alarms_now_and_then(url)
        wait_for(running.events)
        looks = []
        for _ in range(LOOKS):
            time.sleep(SECONDS / LOOKS)
            assert running.process.poll() is None, running.said
            streams = httpx.get(f"{url}/streams", timeout=10).json()["streams"]
            httpx.get(f"{url}/streams/camera0/picture.jpg?heat=1", timeout=10)
            httpx.get(f"{url}/events", timeout=10)
            looks.append(looked_at(running))
        children = children_of(running.process.pid)
        assert len(children) == 4
        assert all(stream["frames"]["dropped"] < 0.05 * stream["frames"]["scored"] for stream in streams)
        assert running.stop() == 0
        assert not any(Path(f"/proc/{child}").exists() for child in children)
    for camera in cameras:
        camera.__exit__()
    memory, files, threads = np.array(looks).T
    third = LOOKS // 3
    before, after = np.median(memory[third : 2 * third]), np.median(memory[2 * third :])
    print(f"{SECONDS:g} s: {before:.0f} MB, then {after:.0f} MB; {files.max():.0f} files, {threads.max():.0f} threads")
    assert after <= before * (1 + GROWTH), memory.round(1).tolist()
    assert np.median(files[2 * third :]) <= np.median(files[third : 2 * third]) + 2, files.tolist()
    assert np.median(threads[2 * third :]) <= np.median(threads[third : 2 * third]) + 2, threads.tolist()
    assert "Traceback" not in running.said


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
