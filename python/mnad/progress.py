"""What a person sees while something long goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TypeVar

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mnad.health import MemoryHealth

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
        if not self.progress.disable and done % FIGURES_EVERY == 0:
            means = figures()
            self.progress.update(self.task, figures=f"loss {means['loss']:.4f}  PSNR {means['psnr']:.2f} dB")
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
        self.console.print(
            f"epoch {epoch}/{self.epochs}  loss {means['loss']:.5f}  PSNR {means['psnr']:.2f} dB{memory}  "
            f"{samples:.1f} samples/s",
            highlight=False,
            soft_wrap=True,
        )
        for fault in health.warnings() if health is not None else ():
            self.console.print(f"[yellow]warning[/yellow]: {fault}", highlight=False, soft_wrap=True)
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
