"""``mnad bench``: which runtime is the fastest for a model on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mnad.artifacts.checkpoint import load_checkpoint
from mnad.measuring.timing import RuntimeTiming, time_runtimes
from mnad.runtime.errors import ConfigError


@dataclass(frozen=True)
class BenchConfig:
    """Options of the comparison.

    Attributes:
        run: A run's folder, a checkpoint file, or a folder of exported weights.
        batches: Windows at a time: 1 as for a single stream, 8 as mnad score has by default.
        seconds: For each runtime and size of batch.
    """

    run: Path
    batches: tuple[int, ...] = (1, 8)
    seconds: float = 3.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not self.batches or min(self.batches) < 1:
            raise ConfigError(f"batches must be numbers of at least 1, got {self.batches}")
        if not self.seconds > 0:
            raise ConfigError(f"seconds must be positive, got {self.seconds}")


def bench(config: BenchConfig) -> list[RuntimeTiming]:
    """Times the model of a run in each runtime that is installed, on the CPU.

    Raises:
        CheckpointError: If there is no usable checkpoint.
    """
    checkpoint = load_checkpoint(config.run)
    return time_runtimes(checkpoint.build_model(), checkpoint.training["size"], config.batches, config.seconds)
