"""What a person sees while something long goes on, on the terminal and in a log file."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mnad.errors import CheckpointError, ConfigError, DataError
from mnad.files import output_errors
from mnad.health import MemoryHealth

FIGURES_EVERY = 10
LOG_EVERY = 30.0  # seconds
LOG = logging.getLogger("mnad")
T = TypeVar("T")


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Adds to a log file what is printed within the block, and every half minute how far the work is.

    A new file does not stay where bad input ended the work.

    Raises:
        OutputError: If it cannot be written.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists()
        handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level = LOG.level
    LOG.setLevel(logging.INFO)
    LOG.addHandler(handler)
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
        LOG.removeHandler(handler)
        LOG.setLevel(level)
        handler.close()


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
    Console(highlight=False, markup=False).print(text, soft_wrap=True)
    LOG.info(text)


class _Pace:
    """Logs now and then how far some work is and how long it will still take.

    Args:
        description: What is counted.
        total: How many there are.
    """

    def __init__(self, description: str, total: int) -> None:
        self.description, self.total = description, total
        self.began = self.logged = time.monotonic()

    def at(self, done: int, figures: Callable[[], str] = str) -> None:
        """Tells how many are done; ``figures`` is called only when something is logged."""
        now = time.monotonic()
        if now - self.logged < LOG_EVERY or not done:
            return
        self.logged = now
        left = (now - self.began) / done * max(self.total - done, 0)
        LOG.info("%s: %d of %d, %.0f s left %s", self.description, done, self.total, left, figures())


def track(items: Iterable[T], description: str, total: int, *, enabled: bool = True) -> Iterator[T]:
    """Shows a bar while items are worked on; nothing where the output is no terminal."""
    console, pace = Console(), _Pace(description, total)
    shown = rich.progress.track(
        items, description, total=total, transient=True, console=console, disable=not (enabled and console.is_terminal)
    )
    for done, item in enumerate(shown):
        pace.at(done)
        yield item


class TrainingProgress:
    """A bar for each epoch with the figures that matter, and a line that stays when the epoch ends.

    Where the output is no terminal only the lines are printed.

    Args:
        epochs: Epochs in all.
        steps: Steps of an epoch.
        enabled: Whether to print anything.
    """

    def __init__(self, epochs: int, steps: int, *, enabled: bool = True) -> None:
        self.console = Console()
        self.epochs, self.steps = epochs, steps
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not (enabled and self.console.is_terminal),
        )
        self.enabled = enabled
        self.pace = _Pace("steps of this epoch", steps)
        self.task = self.progress.add_task("", total=steps, epoch=f"1/{epochs}", figures="")

    def __enter__(self) -> TrainingProgress:
        """Starts the display."""
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the display."""
        self.progress.stop()

    def advance(self, done: int, figures: Callable[[], dict[str, float]]) -> None:
        """Shows the steps done; ``figures`` is called only when they are shown, as it waits for the device."""

        def words() -> str:
            means = figures()
            return f"loss {means['loss']:.4f}  PSNR {means['psnr']:.2f} dB"

        if not self.progress.disable and done % FIGURES_EVERY == 0:
            self.progress.update(self.task, figures=words())
        if self.enabled:
            self.pace.at(done, words)
        self.progress.update(self.task, completed=done)

    def finish_epoch(self, epoch: int, means: dict[str, float], samples: float, health: MemoryHealth | None) -> None:
        """Prints the epoch's line and begins the next."""
        if not self.enabled:
            return
        memory = ""
        if health is not None:
            memory = (
                f"  compactness {means['compactness']:.2e}  separateness {means['separateness']:.3f}  "
                f"items in use {health.items_in_use}  positional share {health.positional_share:.3f}"
            )
        line = (
            f"epoch {epoch}/{self.epochs}  loss {means['loss']:.5f}  PSNR {means['psnr']:.2f} dB{memory}  "
            f"{samples:.1f} samples/s"
        )
        self.console.print(line, highlight=False, soft_wrap=True)
        LOG.info(line)
        self.pace = _Pace(self.pace.description, self.steps)
        self.progress.update(self.task, completed=0, epoch=f"{min(epoch + 1, self.epochs)}/{self.epochs}", figures="")

    def finish(self, health: MemoryHealth | None) -> None:
        """Warns of what is wrong with the memory after the last epoch."""
        faults = health.warnings() if health is not None and self.enabled else []
        if faults:
            line = f"the memory: {'; '.join(faults)}"
            self.console.print(f"[yellow]warning[/yellow]: {line}", highlight=False, soft_wrap=True)
            LOG.warning(line)


class FrameProgress:
    """A bar of frames that several threads advance, with the speed; nothing where the output is no terminal.

    Args:
        description: What the frames are.
        total: How many are expected.
        enabled: Whether to show it at all.
    """

    def __init__(self, description: str, total: int, *, enabled: bool = True) -> None:
        console = Console()
        self.progress = Progress(
            TextColumn(description),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.speed:.0f} frames/s"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not (enabled and console.is_terminal),
        )
        self.pace, self.done = _Pace(description, total), 0
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
