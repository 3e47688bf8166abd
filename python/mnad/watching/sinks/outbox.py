"""The queue of a sink, on disk: what cannot be delivered now is delivered later, in order, also by another process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from mnad.runtime.errors import OutputError
from mnad.runtime.progress import without_passwords
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
        pause = FIRST_PAUSE
        while True:
            try:
                with History(self._path) as history:
                    self._deliver_all(history)
                return
            except SinkError as error:
                fault = str(error)
            except Exception as error:  # whatever it is, this thread must not end in silence
                fault = f"{type(error).__name__}: {without_passwords(str(error))}"
            pause = min(2 * pause, LONGEST_PAUSE) if self.fault else FIRST_PAUSE
            if not self.fault:
                self.say(f"{self.name} cannot be told: {fault}; it is tried again until it can")
            self.fault = fault
            if self._stopping.wait(pause):
                return

    def _deliver_all(self, history: History) -> None:
        """Delivers what there is, and what comes, until the thread is to end.

        Raises:
            SinkError: If something could not be delivered.
        """
        while True:
            last_look = self._stopping.is_set()
            notice = history.next_notice(self.name)
            if notice is not None:
                self.sink.tell(notice)
                if not self._write_told(history, notice):
                    return
                if self.fault:
                    self.say(f"{self.name} is told again")
                    self.fault = ""
            elif last_look:
                return
            else:
                self._stopping.wait(LOOK_EVERY)

    def _write_told(self, history: History, notice: Notice) -> bool:
        """Writes that the sink was told, before it is told anything else; False if it is to end before."""
        while True:
            try:
                history.told(notice, self.name)
                return True
            except OutputError:  # a full disk
                if self._stopping.wait(FIRST_PAUSE):
                    return False
