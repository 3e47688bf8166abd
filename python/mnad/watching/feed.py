"""A source's process as seen from the watching one: started, asked for frames, and started again for ever."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from mnad.watching.messages import Alive, Delivery, Ended, Message, Note, Order

# Seconds until a source that has failed is tried again: twice as long each time, up to a minute.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
# A source that gave frames for so many seconds begins with the first pause again.
RECOVERED = 30.0
# A live source may take so many seconds to start its process and find a first key frame, beside its own timeout.
TO_START = 15.0
# It may take as long as so many frames of its model, as no others are asked for.
STEPS = 3
# A file at which the decoder crashes is not tried more often.
MOST_CRASHES = 3


@dataclass
class Feed:
    """The process that decodes a source.

    Attributes:
        order: Returns what it is to do, each time when it is started.
        process: It; None while there is none.
        pipe: To it.
        fault: Why it gives no frames now; empty while it does.
        finished: Whether a source that has an end has come to it.
        restarts: How often it was started again.
        patience: Seconds without a frame after which a live source is lost.
    """

    order: Callable[[], Order]
    process: subprocess.Popen[bytes] | None = None
    pipe: Connection | None = None
    fault: str = ""
    finished: bool = False
    restarts: int = 0
    patience: float = 0.0
    _live: bool = False
    _endless: bool = True
    _pause: float = FIRST_PAUSE
    _next_start: float = 0.0
    _first_frame: float | None = None
    _deadline: float = 0.0

    def start(self) -> None:
        """Starts the process, and asks it for a first message."""
        order = self.order()
        self._live, self.patience = order.address.live, max(order.timeout, STEPS / order.rate)
        self._endless = order.address.kind != "file"
        self._first_frame = None
        try:
            self._start(order)
        except OSError as error:  # too many processes or files are open
            self._fail(f"its decoder cannot be started: {error.strerror}")

    def _start(self, order: Order) -> None:
        ours, theirs = Pipe()
        self.pipe = ours
        with theirs:
            command = [sys.executable, "-m", "mnad.watching.camera_process", str(theirs.fileno())]
            self.process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )
        ours.send(order)
        self.ask()

    def ask(self) -> None:
        """Asks for the next message; one that is gone will be found to be."""
        to_start = TO_START if self._first_frame is None else 0.0
        self._deadline = time.monotonic() + self.patience + to_start
        if self.pipe is not None:
            try:
                self.pipe.send_bytes(b"")
            except OSError:
                self._fail("its decoder has crashed")

    def receive(self) -> Delivery | Note | Alive | None:
        """Takes a message that has come; None if it was the last one."""
        assert self.pipe is not None
        try:
            message: Message = self.pipe.recv()
        except (EOFError, OSError):
            self.finished = not self._endless and self.restarts >= MOST_CRASHES
            self._fail("its decoder has crashed")
            return None
        if isinstance(message, Ended):
            self.finished = message.reason is None or not self._endless
            self._fail(message.reason or "")
            return None
        if isinstance(message, Delivery | Alive):
            self.fault = ""
        if isinstance(message, Delivery):
            now = time.monotonic()
            self._first_frame = self._first_frame or now
            if now - self._first_frame > RECOVERED:
                self._pause = FIRST_PAUSE
        return message

    def look_after(self) -> None:
        """Ends a process that hangs, and starts one whose pause is over."""
        now = time.monotonic()
        if self.process is None:
            if not self.finished and now >= self._next_start:
                self.restarts += 1
                self.start()
        elif self._live and now > self._deadline and not self._answered():
            self._fail(f"it gave no frame for {self.patience:g} s")

    def stop(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self.pipe is not None:
            self.pipe.close()
        self.process = self.pipe = None

    def _answered(self) -> bool:
        """Whether a message waits that nobody has had time to receive, or the process has ended."""
        return self.pipe is not None and self.pipe.poll()

    def _fail(self, reason: str) -> None:
        self.stop()
        self.fault = reason
        self._next_start = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
