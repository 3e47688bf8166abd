"""The queue of a sink, on disk: what cannot be delivered now is delivered later, in order, also by another process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from mnad.runtime.errors import OutputError
from mnad.watching.history import History, Notice
from mnad.watching.sinks.base import Sink, SinkError

LOOK_EVERY = 0.2
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


class Outbox:
    """A thread that tells one sink what it has not been told.

    Args:
        name: Of the sink.
        sink: It.
        history: The file in which the queue stands.
        say: Called with what people should know.
    """

    def __init__(self, name: str, sink: Sink, history: Path, say: Callable[[str], None]) -> None:
        self.name, self.sink, self.say = name, sink, say
        self.fault = ""
        self._path = history
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sink {name}", daemon=True)

    def start(self) -> None:
        """Begins to deliver."""
        self._thread.start()

    def stop(self, patience: float) -> None:
        """Delivers what can be delivered at once, and ends the thread.

        Args:
            patience: Seconds that a delivery which is under way is waited for.
        """
        self._stopping.set()
        self._thread.join(patience)
        self.sink.close()

    def _run(self) -> None:
        history = History(self._path)
        pause = FIRST_PAUSE
        while True:
            last_look = self._stopping.is_set()
            notice = history.next_notice(self.name)
            if notice is None:
                if last_look:
                    break
                self._stopping.wait(LOOK_EVERY)
                continue
            if self._deliver(notice):
                pause = FIRST_PAUSE
                self._write_told(history, notice)
                continue
            if self._stopping.wait(pause):
                break
            pause = min(2 * pause, LONGEST_PAUSE)
        history.close()

    def _deliver(self, notice: Notice) -> bool:
        try:
            self.sink.tell(notice)
        except SinkError as error:
            if not self.fault:
                self.say(f"{self.name} cannot be told: {error}; it is tried again until it can")
            self.fault = str(error)
            return False
        if self.fault:
            self.say(f"{self.name} is told again")
            self.fault = ""
        return True

    def _write_told(self, history: History, notice: Notice) -> None:
        """Writes that the sink was told, before it is told anything else: it must not be told twice."""
        while True:
            try:
                history.told(notice, self.name)
                return
            except OutputError:  # a full disk
                if self._stopping.wait(FIRST_PAUSE):
                    return
