"""Files at addresses, copied to this machine before they are read: FFmpeg and NumPy want a local file.

::

    downloads/HASH-NAME.mp4          a whole copy; a shared lock is held on it while it is read
    downloads/HASH-NAME.mp4.room     keeps room for a copy that is on its way; an exclusive lock is held on it
    downloads/HASH-NAME.mp4.part     what has come of it

The hash is of the address and of the version that the server names, so that a file that changed is another one. What
nobody reads is removed, that first which was longest not used, before the folder would hold more than its bound.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mnad.runtime.errors import ConfigError, DataError, MnadError, OutputError
from mnad.runtime.files import alone, cache_folder, output_errors
from mnad.runtime.places import Place, Version, download, version_of, words_of
from mnad.runtime.progress import print_beside

VARIABLE, USUAL_GB = "MNAD_DOWNLOADS_GB", 20.0
PAUSES = (1.0, 4.0, 15.0)  # seconds between one try and the next
REFUSED = (401, 403, 404, 410)  # what a web server says that no other try will mend
WAIT = 0.5  # seconds between looks for room
_OF_THREAD = threading.local()


@contextmanager
def local_copy(where: Place, version: Version | None = None) -> Iterator[Path]:
    """Yields a file of this machine with the content of another: a local path as it is, an address downloaded once.

    Any number of processes and threads may ask for the same file at once. It stays until the block ends.

    Args:
        where: The file.
        version: Which content it is to have; that which the server has now if left out.

    Raises:
        DataError: If it cannot be downloaded, or has changed.
        ConfigError: If it is larger than all downloads may be.
        OutputError: If the copy cannot be written.
    """
    if isinstance(where, Path):
        yield where
        return
    version = version or version_of(where)
    copy = _copy_of(where, version)
    told = False
    while (lock := _lock(copy, fcntl.LOCK_SH)) is None:
        if not _fetch(where, version, copy):
            told = _wait_for_room(where, told=told)
    copies = _copies_of_thread()
    copies.append(copy)
    try:
        os.utime(copy, ns=(time.time_ns(), time.time_ns()))  # the last one that was used
        yield copy
    finally:
        copies.remove(copy)
        os.close(lock)


def is_here(where: Place, version: Version | None = None) -> bool:
    """Returns whether a file can be read without downloading it."""
    return isinstance(where, Path) or _copy_of(where, version or version_of(where)).exists()


def bound() -> int:
    """Returns how many bytes all downloads together may take.

    Raises:
        ConfigError: If MNAD_DOWNLOADS_GB is not a positive number.
    """
    text = os.environ.get(VARIABLE, str(USUAL_GB))
    try:
        limit = float(text) * 1e9
    except ValueError:
        limit = 0
    if not 0 < limit < float("inf"):
        raise ConfigError(f"the variable {VARIABLE} must be a number of gigabytes above 0, got {text!r}")
    return int(limit)


def _copy_of(address: Place, version: Version) -> Path:
    key = hashlib.sha256(f"{address}\n{version.size}\n{version.tag}".encode()).hexdigest()[:20]
    return cache_folder() / "downloads" / f"{key}-{address.name[-80:]}"


def _copies_of_thread() -> list[Path]:
    """Returns the copies that this thread has opened and that are still read."""
    if not hasattr(_OF_THREAD, "copies"):
        _OF_THREAD.copies = []
    copies: list[Path] = _OF_THREAD.copies
    return copies


def _fetch(address: Place, version: Version, copy: Path) -> bool:
    """Downloads a file, unless another one has done so meanwhile; returns False if there is no room for it."""
    part, room = copy.with_name(f"{copy.name}.part"), copy.with_name(f"{copy.name}.room")
    with alone(copy), output_errors(copy):
        if copy.exists():
            return True
        if (lock := _reserve(room, version.size, address)) is None:
            return False
        try:
            _download(address, version, part)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(copy)
        finally:
            part.unlink(missing_ok=True)
            room.unlink()
            os.close(lock)
    return True


def _wait_for_room(address: Place, *, told: bool) -> bool:
    """Waits a moment until others have read; says so once.

    Raises:
        ConfigError: If this thread reads other downloads itself: two that read and wait could wait for each other.
    """
    if _copies_of_thread():
        raise ConfigError(
            f"the downloads that are being read leave no room for {address}: set {VARIABLE} to more than "
            f"{bound() / 1e9:g}"
        )
    if not told:
        print_beside(f"{address} waits until others are read: downloads may take {bound() / 1e9:g} GB ({VARIABLE})")
    time.sleep(WAIT)
    return True


def _download(address: Place, version: Version, part: Path) -> None:
    """Downloads a file, again after a pause where that breaks off."""
    for pause in (*PAUSES, None):
        try:
            download(address, part)
            if (size := part.stat().st_size) == version.size:
                break
            fault = f"{size:,} of {version.size:,} bytes have come"
        except MnadError:
            raise
        except Exception as error:  # each service's library has kinds of its own
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _disk_full(address, part.parent) from error
            fault = words_of(error, address)
            if isinstance(error, FileNotFoundError | PermissionError) or getattr(error, "status", 0) in REFUSED:
                pause = None
        _check_unchanged(address, version)
        if pause is None:
            raise DataError(f"cannot download {address}: {fault}")
        time.sleep(pause)
    _check_unchanged(address, version)


def _check_unchanged(address: Place, version: Version) -> None:
    try:
        now = version_of(address, fresh=True)
    except DataError:
        return  # it is told by the download itself
    if now != version:
        raise DataError(f"{address} has changed on its server since it was listed; run the command again")


def _reserve(room: Path, size: int, address: Place) -> int | None:
    """Makes room for a file, and keeps it until the lock is closed.

    Returns:
        The lock; None if what others use leaves none.
    """
    if size > (limit := bound()):
        raise ConfigError(
            f"{address} has {size / 1e9:.2f} GB, and all downloads together may take {limit / 1e9:g}: set {VARIABLE} "
            "to more, or copy the file here and name the copy"
        )
    with alone(room.with_name("room")):
        if not _make_room(room.parent, limit - size):
            return None
        file = os.open(room, os.O_CREAT | os.O_RDWR)
        fcntl.flock(file, fcntl.LOCK_EX)
        os.truncate(file, size)  # takes nothing of the disk, but counts
        return file


def _make_room(folder: Path, most: int) -> bool:
    """Removes files that nobody uses until all take no more than so many bytes; returns whether they do."""
    files = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # it is the end of a download
            if not path.name.startswith(".") and path.suffix != ".part":
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
    taken = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if taken <= most:
            break
        if (lock := _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)) is not None:
            path.unlink(missing_ok=True)
            if path.suffix == ".room":  # its process was killed
                path.with_suffix(".part").unlink(missing_ok=True)
            taken -= size
            os.close(lock)
    return taken <= most


def _lock(path: Path, how: int) -> int | None:
    """Opens and locks a file; None if it is not there, or another one has locked it."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, how)
        if os.path.samestat(os.fstat(file), path.stat()):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(file)  # or it was removed while this waited
    return None


def _disk_full(address: Place, folder: Path) -> OutputError:
    return OutputError(
        f"no space for {address} on the disk of {folder}: free some, set MNAD_CACHE to a folder on a larger disk, or "
        f"{VARIABLE} to fewer gigabytes than it has"
    )
