"""Files are written whole or not at all, and read whole or refused."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING, Any

from mnad.runtime.errors import MnadError, OutputError
from mnad.runtime.places import Place, PlaceT, prove_writable, upload

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SEEN_WITHIN = 3.0  # seconds, in which a shared folder shows what another machine has written


@contextmanager
def output_errors(path: Place) -> Iterator[None]:
    """Turns what the system says of writing ``path`` into an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def input_errors(path: Place, kind: str, error: type[MnadError]) -> Iterator[None]:
    """Turns whatever goes wrong while a file is read into an error of ours, which names the file.

    Args:
        path: The file.
        kind: What it should be, such as ``"a checkpoint"``.
        error: The kind of error.
    """
    try:
        yield
    except MnadError:
        raise
    except Exception as fault:  # a damaged file leads the libraries that read it into any of them
        words = fault if isinstance(fault, OSError) or not str(fault) else f"{type(fault).__name__}: {fault}"
        raise error(f"{path} is not {kind}, or it is damaged or of another version ({words})") from fault


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Adds a checksum to what is to be written as JSON, see :func:`unsealed`."""
    return {**content, "sha256": _sha256(content)}


def unsealed(content: dict[str, Any]) -> dict[str, Any]:
    """Returns the content that was sealed, and checks it.

    Raises:
        ValueError: If it is not what was written.
    """
    inner = {name: value for name, value in content.items() if name != "sha256"}
    if "sha256" in content and content["sha256"] != _sha256(inner):  # earlier versions wrote none
        raise ValueError("its checksum differs")
    return inner


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def only_known(values: Mapping[str, Any], known: type[DataclassInstance], path: Path, error: type[MnadError]) -> None:
    """Makes sure that what was read has no field that its class does not have.

    Raises:
        MnadError: The given one, if it has; it was written by another version, and would mean something else here.
    """
    unknown = sorted(set(values) - {field.name for field in fields(known)})
    if unknown:
        raise error(
            f"{path} was written by another version of mnad: it has {', '.join(unknown)}, not known to this one"
        )


@contextmanager
def atomic_write(path: Place) -> Iterator[Path]:
    """Yields a temporary path that takes the place of ``path`` when the block ends well.

    The file at ``path``, if any, stays as it is until then, and for good if anything fails. To an address it is
    uploaded as one object.

    Raises:
        OutputError: If the folder cannot be made or written to, the disk is full, or the server refuses.
    """
    if not isinstance(path, Path):
        with TemporaryDirectory() as folder:
            written = Path(folder) / path.name
            with output_errors(path):
                yield written
            upload(written, path)
        return
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
    """Yields a temporary folder beside ``path`` that takes its place when the block ends well.

    Raises:
        OutputError: If ``path`` exists and is not an empty folder, or cannot be written.
    """
    path = path.absolute()  # "." has no name
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


def cache_folder() -> Path:
    """Returns the folder for what can be made again: MNAD_CACHE, or ``mnad`` in the user's cache folder."""
    if "MNAD_CACHE" in os.environ:
        return Path(os.environ["MNAD_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnad"


def writable_folder(path: PlaceT) -> PlaceT:
    """Makes a folder and proves that a file can be written there, before long work begins.

    Any number of processes and threads may ask for the same folder at once.

    Raises:
        OutputError: If it cannot.
    """
    if not isinstance(path, Path):
        prove_writable(path)
        return path
    with output_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path, buffering=0) as probe:
            probe.write(b"x")
            os.fsync(probe.fileno())
    return path


def appears(path: Path) -> bool:
    """Returns whether a path is there, or is within the time that a network's file system may take to show it."""
    until = time.monotonic() + SEEN_WITHIN
    while not path.exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@contextmanager
def alone(path: Place, *, wait: bool = True) -> Iterator[bool]:
    """Lets one process or thread at a time make ``path``; the lock ends with its process, however that ends.

    Others wait, or are given False if they would not ``wait``. At an address the lock is a lease, which outlives a
    process that is killed by two minutes: see :mod:`mnad.runtime.leases`.

    Raises:
        OutputError: If the lock cannot be written beside ``path``.
    """
    if not isinstance(path, Path):
        from mnad.runtime.leases import leased

        with leased(path, wait=wait) as mine:
            yield mine
        return
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
    """Returns the opened lock, and whether it is held."""
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
        os.close(file)  # the last holder deleted it while this waited; another may hold a new one


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
