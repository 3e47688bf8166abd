"""Files are written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from mnad.errors import OutputError


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turns what the system says of writing ``path`` into an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` that takes its place when the block ends well.

    The file at ``path``, if any, stays as it is until then, and for good if anything fails.

    Raises:
        OutputError: If the folder cannot be made or written to, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _flush_to_disk(temporary)
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Gives a temporary folder beside ``path`` that takes its place when the block ends well.

    Raises:
        OutputError: If ``path`` exists and is not an empty folder, or cannot be written.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise OutputError(f"{path} exists already; name another folder or remove it first")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with output_errors(path):
            temporary.mkdir(parents=True)
            yield temporary
            if path.exists():
                path.rmdir()
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def writable_folder(path: Path) -> Path:
    """Makes a folder and proves that a file can be written there, before long work begins.

    Any number of processes and threads may ask for the same folder at once.

    Raises:
        OutputError: If it cannot.
    """
    with output_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path, buffering=0) as probe:
            probe.write(b"x")
            os.fsync(probe.fileno())
    return path


@contextmanager
def alone(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Lets one process or thread at a time make ``path``; the lock ends with its process, however that ends.

    Others wait, or are given False if they would not ``wait``.

    Raises:
        OutputError: If the lock cannot be written beside ``path``.
    """
    lock = path.with_name(f".{path.name}.lock")
    with output_errors(lock):
        path.parent.mkdir(parents=True, exist_ok=True)
        file, mine = _lock(lock, wait=wait)
    try:
        yield mine
    finally:
        if mine:
            lock.unlink(missing_ok=True)
        os.close(file)


def _lock(path: Path, *, wait: bool) -> tuple[int, bool]:
    """Gives the opened lock, and whether it is held."""
    while True:
        file = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return file, False
        except BaseException:
            os.close(file)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                return file, True
        os.close(file)  # what was waited for has been removed by the one before: another may hold a new one


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
