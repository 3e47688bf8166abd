"""Making sure that all machines of a cluster see a folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from mnad.runtime.errors import ConfigError
from mnad.runtime.files import appears, output_errors, writable_folder


@dataclass(frozen=True)
class SharedFolder:
    """A folder in which a file was put that other machines look for.

    Attributes:
        folder: The folder, absolute.
        token: The name of the file.
    """

    folder: Path
    token: str

    def check(self) -> None:
        """Makes sure, on any machine, that this is the folder.

        Raises:
            ConfigError: If the machine does not see it.
        """
        if not appears(self.folder / self.token):
            raise ConfigError(
                f"{socket.gethostname()} does not see {self.folder} of the machine that runs the command; name a "
                "folder on storage that all machines of the cluster share"
            )


@contextmanager
def shared_folder(folder: Path) -> Iterator[SharedFolder]:
    """Puts a file into a folder for the block, by which other machines know it.

    Raises:
        OutputError: If the folder cannot be written.
    """
    shared = SharedFolder(writable_folder(folder.absolute()), f".shared-{os.getpid()}-{uuid4().hex[:8]}")
    file = shared.folder / shared.token
    with output_errors(file):
        file.touch()
    try:
        yield shared
    finally:
        with suppress(OSError):
            file.unlink()
