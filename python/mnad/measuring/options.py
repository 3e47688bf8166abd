"""The choices of a measurement by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mnad.runtime.choices import check_choices
from mnad.runtime.errors import ConfigError

UpdateScope = Literal["carried-over", "per-video", "none"]
Precision = Literal["32-true", "bf16"]


@dataclass(frozen=True, kw_only=True)
class UpdateOptions:
    """The test-time update of the items.

    Attributes:
        update: Test-time update of the items: carried-over from video to video (published), per-video (items start
            anew in each video), or none.
        update_threshold: E_t below which a frame updates the items; the published value of the task if left out.

    Raises:
        ConfigError: If one is out of its range.
    """

    update: UpdateScope = "carried-over"
    update_threshold: float | None = None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_choices(self)
        if self.update_threshold is not None and self.update_threshold < 0:
            raise ConfigError(f"update_threshold must not be negative, got {self.update_threshold}")
