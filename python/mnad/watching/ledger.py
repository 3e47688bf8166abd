"""What is found goes into the history, and waits in memory while that cannot be written."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from mnad.runtime.errors import OutputError
from mnad.watching.history import History

Action = Callable[[History], None]
T = TypeVar("T")


class Ledger:
    """Writes into a history in order, whatever is wrong with the disk for a while. Any thread may write and read.

    Args:
        history: Where things are written.
        say: Called with what people should know.
    """

    def __init__(self, history: History, say: Callable[[str], None]) -> None:
        self.say = say
        self.fault = ""
        self._history = history
        self._waiting: deque[Action] = deque()
        self._lock = threading.RLock()

    @property
    def waiting(self) -> int:
        """How many things wait until they can be written."""
        return len(self._waiting)

    def read(self, function: Callable[[History], T]) -> T:
        """Returns what a function returns of the history."""
        with self._lock:
            return function(self._history)

    def write(self, action: Action) -> None:
        """Writes something, at once if that is possible.

        Args:
            action: What is done with the history, all of it or nothing.
        """
        with self._lock:
            self._waiting.append(action)
            self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        with self._lock:
            while self._waiting:
                try:
                    with self._history.at_once():
                        self._waiting[0](self._history)
                except OutputError as error:
                    if not self.fault:
                        self.say(f"{error}; what is found is kept in memory until it can be written")
                    self.fault = str(error)
                    return
                except Exception as error:  # it would fail again, and nothing behind it would be written
                    self.say(f"something that was found cannot be written: {type(error).__name__}: {error}")
                self._waiting.popleft()
            if self.fault:
                self.say(f"{self._history.path} can be written again, and holds all that was found meanwhile")
                self.fault = ""

    def close(self) -> None:
        """Closes the history."""
        with self._lock:
            self._history.close()
