"""Locks at addresses: a lease is an object that its holder writes anew as long as it lives.

::

    .NAME.lock/000001    the lease of NAME; who takes it over from a holder that died takes 000002

It is created so that of several processes one succeeds. All times are the server's, so that the clocks of machines do
not matter: now is the time that it gives to an object written now.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from mnad.runtime.errors import OutputError
from mnad.runtime.places import Place, check_writable, filesystem, key_of, server_errors
from mnad.runtime.progress import print_beside

REFRESH, EXPIRY, POLL = 20.0, 120.0, 2.0  # seconds
THREAD = "mnad lease"
Leases = dict[int, datetime]


@contextmanager
def leased(path: Place, *, wait: bool = True) -> Iterator[bool]:
    """Lets one process or thread at a time, of all machines, make what is at an address.

    Args:
        path: The address.
        wait: Whether to wait until others have ended; else False is yielded.

    Raises:
        OutputError: If the lease cannot be written.
    """
    check_writable(path)
    folder = path.with_name(f".{path.name}.lock")
    while (number := _take(folder)) is None and wait:
        time.sleep(POLL * random.uniform(0.5, 1.5))  # never all at once
    if number is None:
        yield False
        return
    ended = threading.Event()
    refreshing = threading.Thread(target=_refresh, args=(folder, number, ended), name=THREAD, daemon=True)
    refreshing.start()
    try:
        yield True
    finally:
        ended.set()
        refreshing.join()
        with server_errors(folder, "remove the lease", OutputError):
            _remove(folder, number)


def _take(folder: Place) -> int | None:
    """Takes the lease if nobody holds it, or a holder has not refreshed it for long.

    Returns:
        Its number; None if another one has it.
    """
    with server_errors(folder, "take the lease", OutputError):
        found = _leases(folder)
        if found and _now(folder) - max(found.values()) <= timedelta(seconds=EXPIRY):
            return None
        number = max(found, default=0) + 1
        try:
            _write(folder / f"{number:06d}", mode="create")
        except FileExistsError:
            return None
        others = {other: time for other, time in _leases(folder).items() if other != number}
        if any(found.get(other) != time for other, time in others.items()):
            _remove(folder, number)  # one that was thought dead lives, or another one came first
            return None
        for other in others:
            _remove(folder, other)
        return number


def _refresh(folder: Place, number: int, ended: threading.Event) -> None:
    """Writes a lease anew until its holder has ended, or another one has taken it over."""
    while not ended.wait(REFRESH):
        with suppress(Exception):  # the next time may do better, before it expires
            if max(_leases(folder), default=0) > number:
                print_beside(f"{folder}: another process took over, as this one gave no sign for {EXPIRY:g} s")
                return
            _write(folder / f"{number:06d}")


def _leases(folder: Place) -> Leases:
    """Returns when each lease was last written."""
    files = filesystem(folder)
    files.invalidate_cache(key_of(folder))
    try:
        names = [each["name"].rpartition("/")[2] for each in files.ls(key_of(folder), detail=True)]
    except FileNotFoundError:
        return {}
    found = {}
    for name in names:
        if name.isdecimal():
            with suppress(FileNotFoundError):  # it ended meanwhile
                found[int(name)] = _written(folder / name)
    return found


def _now(folder: Place) -> datetime:
    probe = folder / f"now-{uuid.uuid4().hex}"
    _write(probe)
    try:
        return _written(probe)
    finally:
        filesystem(probe).rm_file(key_of(probe))


def _written(lease: Place) -> datetime:
    when: datetime = filesystem(lease).modified(key_of(lease))
    return when


def _write(lease: Place, mode: str = "overwrite") -> None:
    filesystem(lease).pipe_file(key_of(lease), uuid.uuid4().hex.encode(), mode=mode)


def _remove(folder: Place, number: int) -> None:
    with suppress(FileNotFoundError):
        filesystem(folder).rm_file(key_of(folder / f"{number:06d}"))
