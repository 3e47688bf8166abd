"""Options of the commands whose functions take plain arguments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mnad.data.options import LayoutOption
from mnad.data.synthetic import SyntheticSpec
from mnad.runtime.places import Place


@dataclass(frozen=True)
class DemoConfig:
    """Options of the demo.

    Attributes:
        out: The folder for data, runs, table and figure.
    """

    out: Path = Path("demo")


@dataclass(frozen=True, kw_only=True)
class SynthConfig(SyntheticSpec):
    """Options of the synthetic data set.

    Attributes:
        out: The folder to make.
    """

    out: Path


@dataclass(frozen=True)
class InspectConfig(LayoutOption):
    """Options of an inspection.

    Attributes:
        data: A data set in any known layout, a video, a clip store, or the address of videos.
        quick: Whether to decode the first frame of each video only.
    """

    data: Place
    quick: bool = False
