"""Connecting to a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from mnad.runtime.errors import ConfigError

SECONDS_TO_ANSWER = 5.0
LOOPBACK = ("127.", "localhost", "[::1]")
# Ray takes 127.0.0.1 for the address under which other machines know this one, unless it is told to stay on this one.
STAY_HERE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# It tells its makers of each use, unless it is told not to.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}


@contextmanager
def connected(address: str | None) -> Iterator[ModuleType]:
    """Connects to a cluster for the block.

    Args:
        address: HOST:PORT, or ``auto`` for the one that this machine is part of. The variable RAY_ADDRESS if None; if
            there is none either, a cluster is started on this machine, which others cannot reach, and ended.

    Yields:
        Ray's module.

    Raises:
        ConfigError: If Ray is not installed, no cluster answers, or it is of another version.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_answers(address)
    here = address == "local" or address.startswith(LOOPBACK)
    for name, value in {**QUIET, **(STAY_HERE if here else {})}.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise ConfigError("engine ray needs Ray; install it with: pip install 'mnad-ext[ray]'") from None
    if ray.is_initialized():  # by a program that uses this package
        yield ray
        return
    before = signal.getsignal(signal.SIGTERM)  # Ray sets it for itself, and leaves it so
    try:
        ray.init(
            address=address,
            logging_level=logging.ERROR,
            log_to_driver=False,
            include_dashboard=False if address == "local" else None,
            _node_ip_address="127.0.0.1" if here else None,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        words = " ".join(str(error).split())
        raise ConfigError(f"no Ray cluster can be used at {address}: {words}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _check_answers(address: str) -> None:
    """Tells at once what Ray tells after a minute."""
    if address in ("local", "auto"):
        return
    if "://" in address:
        raise ConfigError(
            f"address {address} is that of a Ray client; run the command on a machine of the cluster, for instance "
            "with ray job submit, and give HOST:PORT, or auto"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"address must be HOST:PORT of a Ray cluster, or auto, got {address}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} ({error}); start one with: ray start --head --port {port}, or leave "
            "the address out for one on this machine"
        ) from error
