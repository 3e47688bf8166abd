"""Options that all commands share which open data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mnad.data.layouts import LayoutName


@dataclass(frozen=True, kw_only=True)
class LayoutOption:
    """How data are laid out.

    Attributes:
        layout: How the data are laid out; found by looking if left out.
    """

    layout: LayoutName | None = None


@dataclass(frozen=True, kw_only=True)
class CacheOption:
    """Where what is made of data is kept.

    Attributes:
        cache: Where clip stores are kept; the variable MNAD_CACHE, or ~/.cache/mnad, if left out.
    """

    cache: Path | None = None


@dataclass(frozen=True, kw_only=True)
class DataOptions(LayoutOption, CacheOption):
    """How data are laid out, and where what is made of them is kept."""
