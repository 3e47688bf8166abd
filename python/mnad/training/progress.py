"""What a person sees of a training run, on the terminal and in its log file."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mnad.models.memory_health import MemoryHealth
from mnad.runtime.progress import LOG, Pace, lines_shown

METRICS_EVERY = 10


class TrainingProgress:
    """A bar for each epoch with the metrics that matter, and a line that stays when the epoch ends.

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
            TextColumn("{task.fields[metrics]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not (enabled and self.console.is_terminal),
        )
        self.enabled = enabled
        self.pace = Pace("steps of this epoch", steps)
        self.task = self.progress.add_task("", total=steps, epoch=f"1/{epochs}", metrics="")

    def __enter__(self) -> TrainingProgress:
        """Starts the display."""
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the display."""
        self.progress.stop()

    def advance(self, done: int, metrics: Callable[[], dict[str, float]]) -> None:
        """Shows the steps done; ``metrics`` is called only when they are shown, as it waits for the device."""

        def words() -> str:
            means = metrics()
            return f"loss {means['loss']:.4f}  PSNR {means['psnr']:.2f} dB"

        if not self.progress.disable and done % METRICS_EVERY == 0:
            self.progress.update(self.task, metrics=words())
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
        if lines_shown():
            self.console.print(line, highlight=False, soft_wrap=True)
        LOG.info(line)
        self.pace = Pace(self.pace.description, self.steps)
        self.progress.update(self.task, completed=0, epoch=f"{min(epoch + 1, self.epochs)}/{self.epochs}", metrics="")

    def finish(self, health: MemoryHealth | None) -> None:
        """Warns of what is wrong with the memory after the last epoch."""
        faults = health.warnings() if health is not None and self.enabled else []
        if faults:
            line = f"the memory: {'; '.join(faults)}"
            if lines_shown():
                self.console.print(f"[yellow]warning[/yellow]: {line}", highlight=False, soft_wrap=True)
            LOG.warning(line)
