"""What all sinks have in common."""

from __future__ import annotations

from typing import Protocol

from mnad.watching.history import Notice


class SinkError(Exception):
    """A sink could not be told; it is tried again."""


class Sink(Protocol):
    """Somebody who is told of what is found."""

    def tell(self, notice: Notice) -> None:
        """Tells it, and returns once that is certain.

        Raises:
            SinkError: If it could not be told.
        """
        ...

    def close(self) -> None:
        """Ends the connection."""
        ...
