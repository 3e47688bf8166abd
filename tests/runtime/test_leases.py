"""Leases at addresses: one process at a time, also where its predecessor was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from mnad.runtime import leases
from mnad.runtime.errors import OutputError
from mnad.runtime.files import alone
from mnad.runtime.places import Place, place

from tests.servers import Bucket, Web

PROGRAM = """
import sys
from mnad.runtime import leases
from mnad.runtime.files import alone
from mnad.runtime.places import place
leases.REFRESH, leases.EXPIRY, leases.POLL = 0.2, 4.0, 0.1
with alone(place(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.readline()
print("ended", flush=True)
"""


class Holder:
    """A process that holds a lease until it is told to end."""

    def __init__(self, address: str) -> None:
        command = [sys.executable, "-c", PROGRAM, address]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
        )

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("end\n")
        self.process.stdin.flush()
        assert self.says() == "ended"
        assert self.process.wait(60) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"REFRESH": 0.2, "EXPIRY": 4.0, "POLL": 0.1}.items():
        monkeypatch.setattr(leases, name, seconds)


def test_one_process_at_a_time(bucket: Bucket) -> None:
    address = f"{bucket.address}/results/made"
    first = Holder(address)
    try:
        assert first.says() == "mine"
        second = Holder(address)
        try:
            for _ in range(60):  # for longer than a lease holds that is not refreshed
                with alone(place(address), wait=False) as mine:
                    assert not mine
                with suppress(subprocess.TimeoutExpired):
                    second.process.wait(0.1)
                assert second.process.poll() is None
            first.end()
            assert second.says() == "mine"
            second.end()
        finally:
            second.kill()
    finally:
        first.kill()
    assert bucket.keys() == []
    with alone(place(address), wait=False) as mine:
        assert mine


def test_the_lease_of_a_killed_process_expires(bucket: Bucket) -> None:
    address = f"{bucket.address}/made"
    holder = Holder(address)
    try:
        assert holder.says() == "mine"
    finally:
        holder.kill()
    with alone(place(address), wait=False) as mine:
        assert not mine  # it may live as far as anyone can tell
    with alone(place(address)) as mine:
        assert mine
        assert bucket.keys() == [".made.lock/000002"]
    assert bucket.keys() == []


def test_a_holder_that_seemed_dead_gives_way(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(leases, "print_beside", said.append)
    with alone(place(f"{bucket.address}/made")):
        bucket.put(".made.lock/000002", b"of another one, after a long pause of this process")
        for thread in leases.threading.enumerate():
            if thread.name == leases.THREAD:
                thread.join(60)
    assert "another process took over" in said[0]
    assert bucket.keys() == [".made.lock/000002"]


def test_a_holder_that_wakes_while_its_lease_is_taken_keeps_it(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    write = leases._write

    def late(lease: Place, mode: str = "overwrite") -> None:
        if mode == "create":
            time.sleep(1.1)  # S3 counts whole seconds
            bucket.put(".made.lock/000001", b"awake")
        write(lease, mode)

    bucket.put(".made.lock/000001", b"asleep")
    monkeypatch.setattr(leases, "EXPIRY", -1.0)  # it seems dead at once
    monkeypatch.setattr(leases, "_write", late)
    with alone(place(f"{bucket.address}/made"), wait=False) as mine:
        assert not mine
    assert bucket.keys() == [".made.lock/000001"]


def test_many_that_want_it_at_once_get_it_one_after_the_other(bucket: Bucket) -> None:
    inside: list[int] = []

    def make(number: int) -> int:
        with alone(place(f"{bucket.address}/made")) as mine:
            assert mine
            inside.append(number)
            time.sleep(0.1)
            count = len(inside)
            inside.remove(number)
            return count

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(make, range(8))) == [1] * 8


def test_nothing_is_made_on_a_web_server(web: Web) -> None:
    with pytest.raises(OutputError, match="can only be read"), alone(place(f"{web.address}/made")):
        pass
    assert not web.requests
