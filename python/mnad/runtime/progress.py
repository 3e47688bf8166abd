"""What a person sees while something long goes on, on the terminal and in a log file."""

from __future__ import annotations

import logging
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import rich.progress
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from mnad.runtime.errors import CheckpointError, ConfigError, DataError
from mnad.runtime.files import output_errors
from mnad.runtime.places import Place, upload

LOG_EVERY = 30.0  # seconds
LOG = logging.getLogger("mnad")
_SHOWN: ContextVar[bool] = ContextVar("_SHOWN", default=True)
T = TypeVar("T")


@contextmanager
def log_to(path: Place) -> Iterator[None]:
    """Adds to a log file what is printed within the block, warnings, too, and every half minute how far the work is.

    Where bad input ends the work, a file that is new is removed. To an address the log of this block alone goes, when
    it ends.

    Raises:
        OutputError: If it cannot be written.
    """
    if not isinstance(path, Path):
        with TemporaryDirectory() as folder:
            file = Path(folder) / path.name
            try:
                with log_to(file):
                    yield
            finally:
                if file.exists():
                    upload(file, path)
        return
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists()
        handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level = LOG.level
    LOG.setLevel(logging.INFO)
    LOG.addHandler(handler)
    shown = warnings.showwarning
    warnings.showwarning = partial(_show_and_log, shown)
    try:
        yield
    except (DataError, ConfigError, CheckpointError):
        if fresh:
            path.unlink()
        raise
    except BaseException as error:
        LOG.error("ended by %s: %s", type(error).__name__, without_passwords(str(error)))
        raise
    finally:
        warnings.showwarning = shown
        LOG.removeHandler(handler)
        LOG.setLevel(level)
        with suppress(OSError):  # of a full disk
            handler.close()


class _LogFile(logging.FileHandler):
    """A log file; what is logged while its disk is full is lost, and ends nothing."""

    def handleError(self, _: logging.LogRecord) -> None:  # noqa: N802 (logging calls it so)
        """Nothing: whoever writes more than a log says what is wrong."""


def _show_and_log(shown: Callable[..., None], message: Warning | str, *where: Any) -> None:
    shown(message, *where)
    LOG.warning("warning: %s", without_passwords(str(message)))


def without_passwords(text: str) -> str:
    """Hides user and password of addresses such as rtsp://user:password@camera/1.

    Example:
        >>> without_passwords("cannot open rtsp://admin:secret@camera/1")
        'cannot open rtsp://***@camera/1'
    """
    return re.sub(r"(\w:/{1,2})[^/\s]*@", r"\1***@", text)


def print_line(text: str) -> None:
    """Prints a line as it is, however long, and logs it."""
    text = without_passwords(text)
    if lines_shown():
        Console(highlight=False, markup=False).print(text, soft_wrap=True)
    LOG.info(text)


def print_beside(text: str) -> None:
    """Prints a line on standard error, where standard output is for something else, and logs it.

    What is wrong with standard error, that its disk is full or its reader gone, ends nothing.
    """
    text = without_passwords(text)
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    LOG.info(text)


@contextmanager
def lines_logged_only() -> Iterator[None]:
    """Keeps lines off the terminal within the block, for a caller that sums them up; bars and log files have them.

    Python's warnings and errors are shown all the same.
    """
    token = _SHOWN.set(False)
    try:
        yield
    finally:
        _SHOWN.reset(token)


def lines_shown() -> bool:
    """Returns whether lines are printed; False within :func:`lines_logged_only`."""
    return _SHOWN.get()


class Pace:
    """Logs now and then how far some work is and how long it will still take.

    Args:
        description: What is counted.
        total: How many there are; None where that is not known.
    """

    def __init__(self, description: str, total: int | None) -> None:
        self.description, self.total = description, total
        self.began = self.logged = time.monotonic()

    def at(self, done: int, metrics: Callable[[], str] = str) -> None:
        """Logs how many are done, now and then; ``metrics`` is called only when something is logged."""
        now = time.monotonic()
        if now - self.logged < LOG_EVERY or not done:
            return
        self.logged = now
        if self.total is None:
            LOG.info("%s: %d in %.0f s %s", self.description, done, now - self.began, metrics())
            return
        left = (now - self.began) / done * max(self.total - done, 0)
        LOG.info("%s: %d of %d, %.0f s left %s", self.description, done, self.total, left, metrics())


def total_of(expected: Sequence[int]) -> int | None:
    """Returns how many frames some videos have; None where one does not say, as before it was downloaded.

    Example:
        >>> total_of([40, 60]), total_of([40, 0])
        (100, None)
    """
    return sum(expected) if all(expected) else None


def track(items: Iterable[T], description: str, total: int, *, enabled: bool = True) -> Iterator[T]:
    """Shows a bar while items are worked on; nothing where the output is no terminal."""
    console, pace = Console(), Pace(description, total)
    hidden = not (enabled and console.is_terminal)
    shown = rich.progress.track(
        items, escape(description), total=total, transient=True, console=console, disable=hidden
    )
    for done, item in enumerate(shown):
        pace.at(done)
        yield item


class FrameProgress:
    """A bar of frames that several threads advance, with the speed; nothing where the output is no terminal.

    Args:
        description: What the frames are.
        total: How many are expected; None where that is not known.
        enabled: Whether to show it at all.
    """

    def __init__(self, description: str, total: int | None, *, enabled: bool = True) -> None:
        console = Console()
        self.progress = Progress(
            TextColumn(description),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not (enabled and console.is_terminal),
        )
        self.pace, self.done = Pace(description, total), 0
        self.task = self.progress.add_task("", total=total)

    def __enter__(self) -> FrameProgress:
        """Starts the display."""
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the display."""
        self.progress.stop()

    def advance(self, frames: int = 1) -> None:
        """Counts frames."""
        self.done += frames
        self.pace.at(self.done)
        self.progress.advance(self.task, frames)


class VideoProgress:
    """A bar of videos that are scored: how many, hours of video, how many times as fast as they were recorded.

    How long it will take is told by the size of the files, as nothing else is known of a video before it is read.

    Args:
        videos: How many there are.
        size: Bytes of them all.
    """

    def __init__(self, videos: int, size: int) -> None:
        console = Console()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task("videos", total=max(size, 1))
        self.videos, self.pace = videos, Pace("bytes of video", size)
        self.done, self.read, self.hours = 0, 0, 0.0

    def __enter__(self) -> VideoProgress:
        """Starts the display."""
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the display."""
        self.progress.stop()

    def advance(self, done: int, size: int, hours: float) -> None:
        """Tells how many videos are done, and counts what came: so many bytes, and hours of video that were scored."""
        self.done, self.read, self.hours = done, self.read + size, self.hours + hours
        self.progress.update(self.task, completed=self.read, description=self._so_far())
        self.pace.at(self.read, self._so_far)

    def _so_far(self) -> str:
        times = self.hours * 3600 / max(time.monotonic() - self.pace.began, 1e-9)
        return f"{self.done} of {self.videos} videos, {self.hours:.2f} h of video, {times:.1f} times as fast"


class _Speed(ProgressColumn):
    """Frames a second; nothing until two were counted."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.0f} frames/s")
