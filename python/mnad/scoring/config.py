"""The options of scoring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mnad.data.layouts import LayoutName
from mnad.data.splits import SplitName
from mnad.errors import ConfigError

UpdateScope = Literal["carried-over", "per-video", "none"]
Precision = Literal["32-true", "bf16"]


@dataclass(frozen=True)
class ScoreConfig:
    """Options of scoring.

    Attributes:
        run: A run's folder, or a checkpoint file.
        data: A data set in any known layout, or a clip store.
        split: testing, or training for the measurements of normal frames that scores may be normalised by.
        out: Where the measurements go; measurements.npz in the run's folder if left out, measurements-training.npz for
            the training split.
        labels: A label set of the data by its name, such as hasan or official for Avenue, or a label file; the data's
            own if left out.
        update: Test-time update of the items: carried-over from video to video (published), per-video (items start
            anew in each video), or none.
        update_threshold: E_t below which a frame updates the items; the published value of the task if left out.
        batch_size: Frames at a time; it changes no score, with the test-time update neither.
        precision: 32-true, or bf16 for the network; the memory computes in float32 all the same. It changes scores a
            little.
        maps: Whether to store maps of each frame, too, beside the measurements: where its error is, where its queries
            lie far from the items, and the pictures. They take up to 110 kB of memory a frame, and less in the file.
        accelerator: cpu, cuda, or auto for what there is.
        layout: How the data are laid out; found by looking if left out.
        cache: Where clip stores are kept; the variable MNAD_CACHE, or ~/.cache/mnad, if left out.
    """

    run: Path
    data: Path
    split: SplitName = "testing"
    out: Path | None = None
    labels: str | None = None
    update: UpdateScope = "carried-over"
    update_threshold: float | None = None
    batch_size: int = 8
    precision: Precision = "32-true"
    maps: bool = False
    accelerator: str = "auto"
    layout: LayoutName | None = None
    cache: Path | None = None

    @property
    def destination(self) -> Path:
        """The file of measurements."""
        folder = self.run if self.run.is_dir() else self.run.parent
        return self.out or folder / f"measurements{'' if self.split == 'testing' else '-training'}.npz"

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")
        check_choice("update", self.update, UpdateScope)
        check_choice("precision", self.precision, Precision)
        if self.update_threshold is not None and self.update_threshold < 0:
            raise ConfigError(f"update_threshold must not be negative, got {self.update_threshold}")


def check_choice(name: str, value: str, choices: object) -> None:
    """Makes sure that an option is one of those of its type.

    Raises:
        ConfigError: If it is not.
    """
    if value not in get_args(choices):
        raise ConfigError(f"{name} must be one of {', '.join(get_args(choices))}, got {value!r}")
