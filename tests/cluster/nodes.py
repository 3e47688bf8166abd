"""A Ray cluster of nodes on this machine, which others cannot reach."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Before Ray is imported, as the command does for an address on the loopback interface.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # beside other tests workers would starve by Ray's own

NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80_000_000}


@contextmanager
def ray_nodes(count: int) -> Iterator[Any]:
    """Yields a cluster of so many nodes, each of one processor, and a head that works at nothing."""
    from ray.cluster_utils import Cluster

    before = signal.getsignal(signal.SIGTERM)  # each node sets it for itself
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(count):
            cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()
        signal.signal(signal.SIGTERM, before)


@contextmanager
def another_node(cluster: Any, **settings: str) -> Iterator[Any]:
    """Adds a node, with variables of its own, for the block."""
    node = cluster.add_node(**NODE, env_vars=settings)
    try:
        yield node
    finally:
        if node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)


def kill_a_node_at_work(cluster: Any) -> None:
    """Kills a node on which a worker has tasks, and adds another one in its place."""
    at_work = {
        int(process.parent.joinpath("stat").read_text().rpartition(")")[2].split()[1])
        for process in Path("/proc").glob("[0-9]*/cmdline")
        if is_worker(process)
    }
    node = next(node for node in cluster.worker_nodes if node.all_processes["raylet"][0].process.pid in at_work)
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(**NODE)


def is_worker(process: Path) -> bool:
    try:
        return process.read_text().startswith("ray::VideoScorer")
    except OSError:  # it has ended meanwhile
        return False


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two nodes, for the tests of a file."""
    pytest.importorskip("ray")
    with ray_nodes(2) as nodes:
        yield nodes
