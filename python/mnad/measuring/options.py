"""The choices of a measurement by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

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
        check_choice("update", self.update, UpdateScope)
        if self.update_threshold is not None and self.update_threshold < 0:
            raise ConfigError(f"update_threshold must not be negative, got {self.update_threshold}")


def check_choice(name: str, value: str, choices: object) -> None:
    """Makes sure that an option is one of those of its type.

    Raises:
        ConfigError: If it is not.
    """
    if value not in get_args(choices):
        raise ConfigError(f"{name} must be one of {', '.join(get_args(choices))}, got {value!r}")
