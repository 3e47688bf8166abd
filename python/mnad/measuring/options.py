"""The choices of a measurement by name."""

from __future__ import annotations

from typing import Literal, get_args

from mnad.runtime.errors import ConfigError

UpdateScope = Literal["carried-over", "per-video", "none"]
Precision = Literal["32-true", "bf16"]


def check_choice(name: str, value: str, choices: object) -> None:
    """Makes sure that an option is one of those of its type.

    Raises:
        ConfigError: If it is not.
    """
    if value not in get_args(choices):
        raise ConfigError(f"{name} must be one of {', '.join(get_args(choices))}, got {value!r}")
