"""Processes that know of each other, as distributed training starts them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist
import torch.multiprocessing as mp

Work = Callable[[int, Path], None]


def on_ranks(count: int, work: Work, folder: Path) -> None:
    """Runs ``work(rank, folder)`` in so many processes; it must stand in a module."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_run, args=(count, work, port, folder), nprocs=count)


def _run(rank: int, count: int, work: Work, port: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=count)
    try:
        work(rank, folder)
    finally:
        dist.destroy_process_group()
