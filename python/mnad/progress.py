"""What a person sees while something long goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TypeVar

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

FIGURES_EVERY = 10
T = TypeVar("T")


def print_line(text: str) -> None:
    """Prints a line as it is, however long."""
    Console(highlight=False, markup=False).print(text, soft_wrap=True)


def track(items: Iterable[T], description: str, total: int, *, enabled: bool = True) -> Iterator[T]:
    """Shows a bar while items are worked on; nothing where the output is no terminal."""
    console = Console()
    yield from rich.progress.track(
        items, description, total=total, transient=True, console=console, disable=not (enabled and console.is_terminal)
    )


class TrainingProgress:
    """A bar for each epoch with the figures that matter, and a line that stays when the epoch ends.

    Where the output is no terminal only the lines are printed.

    Args:
        epochs: Epochs in all.
        steps: Steps of an epoch.
    """

    def __init__(self, epochs: int, steps: int) -> None:
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
            disable=not self.console.is_terminal,
        )
        self.task = self.progress.add_task("", total=steps, epoch=f"1/{epochs}", figures="")
        self.done = 0

    def __enter__(self) -> TrainingProgress:
        """Starts the display."""
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the display."""
        self.progress.stop()

    def advance(self, figures: Callable[[], dict[str, float]]) -> None:
        """Counts a step; ``figures`` is called only when they are shown, as it waits for the device."""
        self.done += 1
        if not self.progress.disable and self.done % FIGURES_EVERY == 0:
            means = figures()
            self.progress.update(self.task, figures=f"loss {means['loss']:.4f}  PSNR {means['psnr']:.2f} dB")
        self.progress.update(self.task, completed=self.done)

    def finish_epoch(self, epoch: int, means: dict[str, float], samples: float, in_use: int | None) -> None:
        """Prints the epoch's line and begins the next."""
        items = "" if in_use is None else f"  items in use {in_use}"
        self.console.print(
            f"epoch {epoch}/{self.epochs}  loss {means['loss']:.5f}  PSNR {means['psnr']:.2f} dB  "
            f"compactness {means['compactness']:.2e}  separateness {means['separateness']:.3f}{items}  "
            f"{samples:.1f} samples/s",
            highlight=False,
            soft_wrap=True,
        )
        self.done = 0
        self.progress.update(self.task, completed=0, epoch=f"{min(epoch + 1, self.epochs)}/{self.epochs}", figures="")


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
        self.progress.advance(self.task, frames)
