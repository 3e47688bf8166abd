"""A Ray cluster of nodes on this machine, which others cannot reach."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

# Before Ray is imported, as the command does for an address on the loopback interface.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80_000_000}


@contextmanager
def ray_nodes(count: int) -> Iterator[Any]:
    """Yields a cluster of so many nodes, each of one processor."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    try:
        for _ in range(count - 1):
            cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()


@contextmanager
def another_node(cluster: Any, **settings: str) -> Iterator[Any]:
    """Adds a node, with variables of its own, for the block."""
    node = cluster.add_node(**NODE, env_vars=settings)
    try:
        yield node
    finally:
        if node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two nodes, for the tests of a file."""
    pytest.importorskip("ray")
    with ray_nodes(2) as nodes:
        yield nodes
