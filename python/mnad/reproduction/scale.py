"""How large an experiment is made: as published, or shrunk for a small machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from mnad.data import SyntheticSpec

DatasetName = Literal["ped2", "avenue", "shanghaitech", "synthetic", "strangers"]
DATASETS: tuple[DatasetName, ...] = ("ped2", "avenue", "shanghaitech")
TITLES: dict[DatasetName, str] = {
    "ped2": "Ped2",
    "avenue": "Avenue",
    "shanghaitech": "ShanghaiTech",
    "synthetic": "synthetic",
    "strangers": "strangers' scenes",
}
ScaleName = Literal["full", "small"]


@dataclass(frozen=True)
class CameraScale:
    """Sizes of the models of the experiment strangers, one for each scene.

    Attributes:
        size: Height and width of the frames.
        width: Channels of the first stage.
        windows: Training windows that a model is shown in all, whatever the length of its video.
        learning_rate: None for the published one.
    """

    size: int
    width: int
    windows: int
    learning_rate: float | None


@dataclass(frozen=True)
class Scale:
    """Sizes of the networks, of the frames and of the training.

    Attributes:
        name: What it is called by ``--scale``.
        size: Height and width of the frames.
        width: Channels of the first stage.
        epochs: Epochs on each data set.
        keep_every: Epochs between the checkpoints that a search measures.
        learning_rate: Of all models; None for the published ones.
        stride: Frames from the beginning of one training window to that of the next.
        synthetic: The synthetic data set.
        camera: The experiment strangers.
    """

    name: ScaleName
    size: int
    width: int
    epochs: dict[DatasetName, int]
    keep_every: int
    learning_rate: float | None
    stride: int
    synthetic: SyntheticSpec
    camera: CameraScale

    def describe(self) -> str:
        """Returns a line that says what differs from what was published."""
        if self.name == "full":
            return "full scale: 256 x 256, width 64, epochs and learning rates as published"
        epochs = ", ".join(f"{TITLES[name]} {count}" for name, count in self.epochs.items())
        return (
            f"SMALL SCALE, not the published experiment: {self.size} x {self.size}, width {self.width}, training "
            f"windows {self.stride} frames apart, learning rate {self.learning_rate:g}, epochs: {epochs}"
        )

    def describe_camera(self) -> str:
        """Returns a line that says how large the models of the experiment strangers are."""
        camera = self.camera
        rate = "as published" if camera.learning_rate is None else f"{camera.learning_rate:g}"
        return (
            f"{self.name} scale: {camera.size} x {camera.size}, width {camera.width}, {camera.windows:,} training "
            f"windows in all, learning rate {rate}"
        )


_ALL_KINDS = SyntheticSpec(kinds=("spatial", "temporal", "spatio-temporal", "slow", "still"))

SCALES: dict[ScaleName, Scale] = {
    "full": Scale(
        name="full",
        size=256,
        width=64,
        epochs={"ped2": 60, "avenue": 60, "shanghaitech": 10, "synthetic": 60},
        keep_every=5,
        learning_rate=None,
        stride=1,
        synthetic=_ALL_KINDS,
        camera=CameraScale(size=256, width=64, windows=150_000, learning_rate=None),
    ),
    # A narrow network needs a higher learning rate to get anywhere in a few epochs, small frames larger and faster
    # objects.
    "small": Scale(
        name="small",
        size=64,
        width=8,
        epochs={"ped2": 3, "avenue": 2, "shanghaitech": 1, "synthetic": 10},
        keep_every=1,
        learning_rate=1e-3,
        stride=2,
        synthetic=replace(_ALL_KINDS, size=64, radius=20, speed=10, fast=20),
        camera=CameraScale(size=128, width=16, windows=16_000, learning_rate=5e-4),
    ),
}
assert set(SCALES) == set(get_args(ScaleName))
