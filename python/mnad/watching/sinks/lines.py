"""Standard output: a line of JSON for each event that begins or ends, and each change of a camera's health."""

from __future__ import annotations

import json
import os
import sys

from mnad.watching.history import Notice
from mnad.watching.sinks.base import SinkError


class JsonLines:
    """Prints lines of JSON, each whole, though the disk that they go to may be full in the middle of one."""

    def __init__(self) -> None:
        self._key, self._rest = "", b""

    def tell(self, notice: Notice) -> None:
        """Prints a line, or the rest of it.

        Raises:
            SinkError: If it cannot be written.
        """
        if notice.key != self._key:
            line = json.dumps({"key": notice.key, **notice.content})
            self._key, self._rest = notice.key, f"{line}\n".encode()
        try:
            while self._rest:
                self._rest = self._rest[os.write(sys.stdout.fileno(), self._rest) :]
        except OSError as error:
            raise SinkError(str(error.strerror)) from None

    def close(self) -> None:
        """Nothing: the output belongs to others."""
