"""Two "nodes" on this machine: two launchers of torchrun that find each other, each with processes of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


class Node(NamedTuple):
    """A launcher, and what it and its processes print."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def printed(self) -> str:
        self.output.seek(0)
        return self.output.read().decode()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def rendezvous() -> list[str]:
    """Returns the options by which two launchers of one process each find each other."""
    place = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--rdzv-id", "test"]
    return ["--nnodes", "2", "--nproc-per-node", "1", *place]


@contextmanager
def started(*commands: Sequence[object], **environment: str) -> Iterator[list[Node]]:
    """Starts a command on each node."""
    nodes = []
    try:
        for command in commands:
            output = TemporaryFile()  # noqa: SIM115 (closed below)
            call = [str(part) for part in command]
            process = subprocess.Popen(
                call,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | ENVIRONMENT | environment,
                start_new_session=True,
            )
            nodes.append(Node(process, output))
        yield nodes
    finally:
        for node in nodes:
            with suppress(ProcessLookupError):
                os.killpg(node.process.pid, signal.SIGKILL)
            node.process.wait()
            node.output.close()


def ended(nodes: Sequence[Node], within: float = 120) -> list[str]:
    """Waits for all nodes to end, however they do, and returns what each printed."""
    until = time.monotonic() + within
    for node in nodes:
        node.process.wait(timeout=max(until - time.monotonic(), 0.1))
    return [node.printed() for node in nodes]


def wait_for(path: Path, nodes: Sequence[Node], within: float = 120) -> None:
    """Waits for a file that the nodes are to write."""
    until = time.monotonic() + within
    while not path.exists():
        assert time.monotonic() < until, f"no {path}"
        assert all(node.process.poll() is None for node in nodes), [node.printed() for node in nodes]
        time.sleep(0.05)
