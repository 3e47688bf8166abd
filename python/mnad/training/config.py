"""The options of a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from mnad.data.options import DataOptions
from mnad.models import PRESETS, ModelConfig, PresetName, Recipe
from mnad.runtime.choices import check_choices
from mnad.runtime.devices import DeviceOption
from mnad.runtime.errors import ConfigError
from mnad.runtime.places import Place
from mnad.runtime.progress import without_passwords
from mnad.training.losses import LossWeights
from mnad_ext import UpdateRule

LoggerName = Literal["tensorboard", "wandb"]
# With the paper's supervision compactness and separateness weigh a hundredth of what they weigh in prediction.
SUPERVISED_WEIGHT = 0.001
# What a resumed run may change: where and how fast it runs, not what it computes.
FREE_TO_CHANGE = {
    "data", "out", "layout", "cache", "device_cache", "workers", "accelerator", "devices", "num_nodes", "compile",
    "cuda_graphs", "resume", "overwrite", "keep_every", "loggers",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ComputeOptions(DeviceOption):
    """How training computes on its device.

    Attributes:
        precision: 32-true, bf16-mixed or 16-mixed. The memory computes in float32 all the same.
        compile: Whether to compile the network with torch.compile.
        device_cache: Whether to hold all frames in the memory of the device, which must be large enough.
    """

    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False
    device_cache: bool = False


@dataclass(frozen=True)
class TrainConfig(ComputeOptions, DataOptions):
    """Options of a training run. What is left out is the preset's, which is the published value.

    Attributes:
        data: A data set in any known layout, a video, or a clip store.
        out: The run's folder: checkpoint, curves and, later, scores. Made if need be.
        preset: The variant of the network and its recipe.
        size: Height and width of the frames, a multiple of 8.
        width: Channels of the first stage; 64 as published.
        image_channels: 3 for colour (grey video is repeated), 1 for grey.
        frames_in: Input frames.
        num_items: Items of the memory.
        update_rule: How the items are updated: max-all (released code), max-assigned (Park et al.), plain (the paper).
        epochs: Passes over the training windows; published are 60, and 10 for ShanghaiTech.
        batch_size: Windows of a step on each device; the last incomplete batch of an epoch is dropped.
        learning_rate: Of Adam at the start; it falls to 0 along a cosine, a step each epoch.
        compactness_weight: Of the compactness loss; 0 leaves it out.
        separateness_weight: Of the separateness loss; 0 leaves it out.
        supervision_weight: Of the paper's memory distribution supervision, 1 in the paper; 0 leaves it out. With it
            compactness and separateness weigh 0.001 unless given.
        noise: Share of salt-and-pepper pixels in the input frames.
        seed: Repeats weights, items, noise and the order of the windows.
        devices: Devices of this machine.
        num_nodes: Machines, on each of which torchrun starts the same command.
        sync_batchnorm: Whether batch statistics are those of all GPUs together.
        cuda_graphs: Whether to replay each step as one CUDA graph; on one GPU, in 32-true or bf16-mixed.
        levels: Black and white of pixels of more than 8 bits; chosen from the training frames if left out. They stay
            with the model.
        stride: Frames from the beginning of one training window to that of the next.
        hold_out: Share of each training video's end that is never trained on, for mnad calibrate; 0 trains on all.
        workers: Processes that read ahead. 0 is fastest while the frames are in the system's file cache.
        resume: Whether to go on from the checkpoint in out, if there is one; ``epochs`` may then be more than at first.
        overwrite: Whether to remove an earlier run from out, with all that was measured of it, and begin anew.
        keep_every: Epochs between checkpoints that stay, in checkpoints/; 0 keeps none but the last.
        loggers: More loggers beside the CSV file: tensorboard, wandb (offline).
    """

    data: Place
    out: Path
    preset: PresetName = "prediction"
    size: int = 256
    width: int = 64
    image_channels: int = 3
    frames_in: int | None = None
    num_items: int = 10
    update_rule: UpdateRule = "max-all"
    epochs: int = 60
    batch_size: int = 4
    learning_rate: float | None = None
    compactness_weight: float | None = None
    separateness_weight: float | None = None
    supervision_weight: float = 0
    noise: float | None = None
    seed: int = 0
    devices: int = 1
    num_nodes: int = 1
    sync_batchnorm: bool = False
    cuda_graphs: bool = False
    levels: tuple[float, float] | None = None
    stride: int = 1
    hold_out: float = 0
    workers: int = 0
    resume: bool = False
    overwrite: bool = False
    keep_every: int = 5
    loggers: tuple[LoggerName, ...] = ()

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_choices(self)
        positive = ("size", "width", "num_items", "epochs", "batch_size", "stride", "devices", "num_nodes")
        for name in positive:
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        if self.recipe().learning_rate <= 0:
            raise ConfigError(f"learning_rate must be positive, got {self.recipe().learning_rate}")
        for name in ("workers", "keep_every"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")
        for name, weight in self.loss_weights()._asdict().items():
            if weight < 0:
                raise ConfigError(f"{name}_weight must not be negative, got {weight}")
        if not 0 <= self.hold_out < 1:
            raise ConfigError(f"hold_out must be at least 0 and less than 1, got {self.hold_out}")
        if self.resume and self.overwrite:
            raise ConfigError("resume goes on with a run and overwrite removes it; give one of them")
        if self.cuda_graphs and (self.devices * self.num_nodes > 1 or self.precision == "16-mixed"):
            raise ConfigError(
                f"cuda_graphs needs one device and no gradient scaler, got {self.devices * self.num_nodes} devices and "
                f"precision {self.precision}; leave it off, or use one device and bf16-mixed or 32-true"
            )
        if not 0 <= self.recipe().noise < 1:
            raise ConfigError(f"noise must be at least 0 and less than 1, got {self.recipe().noise}")
        memory = self.model().memory
        if memory is not None and self.num_items == 1 and self.loss_weights().separateness:
            raise ConfigError("separateness needs at least 2 items; set num_items above 1 or separateness_weight to 0")
        if memory is None and self.supervision_weight:
            raise ConfigError(f"supervision_weight needs a memory, which the preset {self.preset} has not")

    def recipe(self) -> Recipe:
        """The preset's recipe with what was given in its place."""
        given = {"learning_rate": self.learning_rate, "noise": self.noise}
        return replace(
            PRESETS[self.preset].recipe, **{name: value for name, value in given.items() if value is not None}
        )

    def loss_weights(self) -> LossWeights:
        """The weights of the losses."""
        usual = SUPERVISED_WEIGHT if self.supervision_weight else PRESETS[self.preset].recipe.loss_weight
        return LossWeights(
            usual if self.compactness_weight is None else self.compactness_weight,
            usual if self.separateness_weight is None else self.separateness_weight,
            self.supervision_weight,
        )

    def model(self) -> ModelConfig:
        """The preset's network in the size that is asked for."""
        published = PRESETS[self.preset].model
        memory = published.memory
        if memory is not None:
            memory = replace(memory, num_items=self.num_items, update_rule=self.update_rule)
        frames_in = published.frames_in if self.frames_in is None else self.frames_in
        return replace(
            published, frames_in=frames_in, width=self.width, image_channels=self.image_channels, memory=memory
        )


def training_options(config: TrainConfig) -> dict[str, Any]:
    """Returns the options as they stand in the checkpoint."""
    levels = None if config.levels is None else list(config.levels)
    data = without_passwords(str(config.data))
    values = asdict(config) | {"loggers": list(config.loggers), "levels": levels, "data": data}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def check_resumable(config: TrainConfig, stored: dict[str, Any]) -> None:
    """Makes sure that a run goes on by the options by which it began.

    Raises:
        ConfigError: If an option differs that would change what is computed; the message names it.
    """
    wanted = training_options(config)
    for field in fields(config):
        name = field.name
        began = stored.get(name, field.default)  # an older one lacks later options: it behaved as by default
        if name == "epochs" and wanted[name] > began:
            continue
        if name not in FREE_TO_CHANGE and wanted[name] != began:
            raise ConfigError(
                f"the run in {config.out} began with {name} {began!r} and cannot go on with "
                f"{wanted[name]!r}; give the same, or another folder"
            )
    if config.devices * config.num_nodes != stored["devices"] * stored["num_nodes"]:
        raise ConfigError(
            f"the run in {config.out} began on {stored['devices'] * stored['num_nodes']} devices in all and cannot go "
            f"on on {config.devices * config.num_nodes}: a step would see other windows"
        )
