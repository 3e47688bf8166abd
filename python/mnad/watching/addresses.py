"""Where frames come from: the address of a camera, a file or a folder, and what it says of how to read it."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from mnad.data.folders import VIDEO_SUFFIXES
from mnad.runtime.errors import ConfigError
from mnad.runtime.progress import without_passwords

Kind = Literal["rtsp", "http", "device", "file", "folder"]
SCHEMES: dict[str, Kind] = {"rtsp": "rtsp", "rtsps": "rtsp", "http": "http", "https": "http"}
DEVICES = ("/dev/video", "/dev/v4l/")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Address:
    """Where the frames of a stream come from.

    Attributes:
        text: As it was given; it may hold a password, and is never shown.
        kind: How it is read.
    """

    text: str
    kind: Kind

    @property
    def is_gone(self) -> bool:
        """Whether it is a file or a folder that is not there."""
        return self.kind in ("file", "folder") and not os.path.exists(self.text)  # noqa: PTH110 (see below)

    @property
    def live(self) -> bool:
        """Whether frames come when they come, and those that nobody takes are lost."""
        return self.kind in ("rtsp", "http", "device")

    def __str__(self) -> str:
        """Returns a file as it is, and of a URL no more than its host: passwords stand in any part of one."""
        return host_of(self.text) if "://" in self.text else self.text

    __repr__ = __str__


def parse_address(text: str) -> Address:
    """Reads an address.

    Args:
        text: ``rtsp://...``, ``rtsps://...``, ``http://...``, ``https://...``, the number of a USB camera or its device
            such as ``/dev/video0``, a video file, or a folder.

    Raises:
        ConfigError: If it can be none of these.

    Example:
        >>> parse_address("rtsp://admin:secret@192.0.2.7/stream1")
        rtsp://192.0.2.7
        >>> parse_address("0").kind
        'device'
    """
    if "://" in text:
        parts = split_url(text)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise ConfigError(
                f"the address {host_of(text)} must begin with {'://, '.join(SCHEMES)}:// and name a host, or "
                "be a file, a folder or the number of a USB camera"
            )
        return Address(text, SCHEMES[parts.scheme])
    if text.isdecimal():
        return Address(f"/dev/video{text}", "device")
    if "\0" in text:
        raise ConfigError(f"no file or folder can be called {text!r}")
    if text.startswith(DEVICES) or _is_device(text):
        return Address(text, "device")
    path = Path(text).resolve()
    # Not those of Path, which fail where a disk of the network is not reached, or a name is too long.
    is_gone = not os.path.exists(path)  # noqa: PTH110
    is_file = path.suffix.lower() in VIDEO_SUFFIXES if is_gone else os.path.isfile(path)  # noqa: PTH113
    return Address(str(path), "file" if is_file else "folder")


def _is_device(text: str) -> bool:
    with suppress(OSError):
        return stat.S_ISCHR(os.stat(text).st_mode)  # noqa: PTH116
    return False


def host_of(url: str) -> str:
    """Returns of a URL no more than its host: passwords stand in any part of one.

    Example:
        >>> host_of("https://user:secret@hooks.example/T0/secret?auth=secret")
        'https://hooks.example'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def split_url(text: str) -> SplitResult:
    """Splits a URL into its parts.

    Raises:
        ConfigError: If it cannot be split; it is not quoted, as what is wrong may be its password.
    """
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        parts = None
    if parts is None or "@" in parts.path:
        raise ConfigError(
            "a URL cannot be read: its port must be a number, and in user and password write / as %2F, @ as %40, "
            ": as %3A, ? as %3F and # as %23"
        )
    return parts


def split_name(source: str) -> tuple[str, str]:
    """Splits ``NAME=ADDRESS``; an address alone is named by itself.

    Raises:
        ConfigError: If the name holds more than letters, digits, ``_``, ``.`` and ``-``.

    Example:
        >>> split_name("gate=rtsp://192.0.2.7/live?channel=1")
        ('gate', 'rtsp://192.0.2.7/live?channel=1')
        >>> split_name("videos/yard.mp4"), split_name("rtsp://192.0.2.7/live?channel=1")
        (('yard', 'videos/yard.mp4'), ('192.0.2.7', 'rtsp://192.0.2.7/live?channel=1'))
    """
    name, equals, address = source.partition("=")
    if not equals or "://" in name or "/" in name:
        return _name_of(source), source
    return check_name(name), address


def check_name(name: str) -> str:
    """Returns the name of a stream, which names files and topics, too.

    Raises:
        ConfigError: If it holds more than letters, digits, ``_``, ``.`` and ``-``, or does not begin with one of the
            first two.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"the name of a stream must begin with a letter or digit and hold letters, digits, _, . and - alone, got "
            f"{without_passwords(name)!r}"
        )
    return name


def _name_of(address: str) -> str:
    if "://" in address:
        found = split_url(address).hostname or ""
    else:
        found = f"camera-{address}" if address.isdecimal() else Path(address).stem
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", found).strip("-._")
    if not name:
        raise ConfigError("a source has no name: give it one, NAME=ADDRESS")
    return name
