"""Training: the published recipe as one loop that reads from top to bottom."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from lightning.fabric.loggers.csv_logs import CSVLogger
from torch import Tensor

from mnad.checkpoint import Checkpoint, save_checkpoint
from mnad.data import Batches, ShuffledBatches, Windows, open_clips, to_frames
from mnad.data.cache import check_data
from mnad.data.layouts import LayoutName
from mnad.errors import ConfigError, Interrupted, MnadError
from mnad.files import writable_folder
from mnad.models import PRESETS, Autoencoder, ModelConfig, PresetName, Recipe
from mnad.progress import TrainingProgress
from mnad_ext import UpdateRule


@dataclass(frozen=True)
class TrainConfig:
    """Options of a training run. What is left out is the preset's, which is the published value.

    Attributes:
        data: A data set in any known layout, or a clip store.
        out: The run's folder: checkpoint, curves and, later, scores. Made if need be.
        preset: The variant of the network and its recipe.
        size: Height and width of the frames, a multiple of 8.
        width: Channels of the first stage; 64 as published.
        image_channels: 3 for colour (grey sets are stored so, too), 1 for grey.
        num_items: Items of the memory.
        update_rule: How the items are updated: max-all (released code), max-assigned (paper), plain (report).
        epochs: Passes over the training windows.
        batch_size: Windows of a step; the last incomplete batch of an epoch is dropped.
        learning_rate: Of Adam at the start; it falls to 0 along a cosine, stepped once an epoch.
        loss_weight: Weight of compactness and of separateness in the loss.
        seed: Repeats weights, items and the order of the windows.
        accelerator: cpu, cuda, or auto for what there is.
        precision: 32-true, bf16-mixed or 16-mixed.
        layout: How the data are laid out; found by looking if left out.
        stride: Frames from the beginning of one training window to that of the next.
        cache: Where clip stores are kept; the variable MNAD_CACHE, or ~/.cache/mnad, if left out.
        device_cache: Whether to hold all frames in the memory of the device, which must be large enough.
        workers: Processes that read ahead. 0 is fastest while the frames are in the system's file cache.
    """

    data: Path
    out: Path
    preset: PresetName = "prediction"
    size: int = 256
    width: int = 64
    image_channels: int = 3
    num_items: int = 10
    update_rule: UpdateRule = "max-all"
    epochs: int = 60
    batch_size: int = 4
    learning_rate: float | None = None
    loss_weight: float | None = None
    seed: int = 0
    accelerator: str = "auto"
    precision: str = "32-true"
    layout: LayoutName | None = None
    stride: int = 1
    cache: Path | None = None
    device_cache: bool = False
    workers: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        recipe = self.recipe()
        values = {
            name: getattr(self, name) for name in ("size", "width", "num_items", "epochs", "batch_size", "stride")
        }
        for name, value in (values | {"learning_rate": recipe.learning_rate}).items():
            if value <= 0:
                raise ConfigError(f"{name} must be positive, got {value}")
        if self.workers < 0:
            raise ConfigError(f"workers must not be negative, got {self.workers}")
        if recipe.loss_weight < 0:
            raise ConfigError(f"loss_weight must not be negative, got {recipe.loss_weight}")
        if PRESETS[self.preset].model.memory and self.num_items == 1 and recipe.loss_weight:
            raise ConfigError("separateness needs at least 2 items; set num_items above 1 or loss_weight to 0")

    def recipe(self) -> Recipe:
        """The preset's recipe with what was given in its place."""
        published = PRESETS[self.preset].recipe
        given = {"learning_rate": self.learning_rate, "loss_weight": self.loss_weight}
        return replace(published, **{name: value for name, value in given.items() if value is not None})

    def model(self) -> ModelConfig:
        """The preset's network in the size that is asked for."""
        published = PRESETS[self.preset].model
        memory = published.memory
        if memory is not None:
            memory = replace(memory, num_items=self.num_items, update_rule=self.update_rule)
        return replace(published, width=self.width, image_channels=self.image_channels, memory=memory)


class Losses(NamedTuple):
    """The parts of the loss, each a scalar; compactness and separateness are 0 without a memory."""

    total: Tensor
    pixel: Tensor
    compactness: Tensor
    separateness: Tensor


def train(config: TrainConfig) -> Path:
    """Trains a network and leaves ``checkpoint.safetensors`` and ``curves/metrics.csv`` in ``config.out``.

    Returns:
        The checkpoint.

    Raises:
        ConfigError: If options do not fit each other or the data.
        DataError: If the data are not as they should be.
        OutputError: If the folder cannot be written.
        Interrupted: If the run was stopped; its checkpoint is usable.
    """
    check_data(config.data, "training", config.layout)  # a fault of the data shows before a folder is made
    writable_folder(config.out)
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=1,
        precision=config.precision,  # type: ignore[arg-type]
        loggers=CSVLogger(config.out, name="", version="curves", flush_logs_every_n_steps=1),
    )
    fabric.seed_everything(config.seed, verbose=False)

    model_config, recipe = config.model(), config.recipe()
    sampler, batches = _batches(config, model_config, fabric.device)
    model = Autoencoder(model_config)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.epochs)
    wrapped, optimizer = fabric.setup(model, optimizer)

    step = 0
    path = config.out / "checkpoint.safetensors"

    def save(epoch: int) -> None:
        options = training_options(config)
        state = Checkpoint(model_config, model.state_dict(), options, epoch, step, optimizer.state_dict())
        save_checkpoint(path, state)

    with TrainingProgress(config.epochs, len(sampler)) as progress, _stop_signals() as stopped:
        for epoch in range(config.epochs):
            began = time.perf_counter()
            totals = torch.zeros(4, device=fabric.device)
            usage = torch.zeros(config.num_items, device=fabric.device)
            sampler.at(epoch)
            for index, batch in enumerate(batches):
                losses = _step(fabric, wrapped, optimizer, batch, recipe.loss_weight, usage)
                totals += torch.stack([part.detach() for part in losses])
                step += 1
                progress.advance(partial(_means, totals, index + 1))
                if stopped():
                    save(epoch)
                    raise Interrupted(f"stopped after step {step}, in epoch {epoch + 1}; {path} is usable")
            means = _means(totals, len(sampler))
            if not math.isfinite(means["loss"]):
                raise MnadError(
                    f"the loss became {means['loss']} in epoch {epoch + 1} (step {step}); lower the learning rate. "
                    f"{f'{path} holds epoch {epoch}' if epoch else 'No checkpoint was written'}"
                )
            schedule.step()
            samples = len(sampler) * config.batch_size / (time.perf_counter() - began)
            in_use = int((usage > 0).sum()) if model_config.memory else None
            fabric.log_dict(_logged(means, float(schedule.get_last_lr()[0]), samples, in_use), step=epoch + 1)
            progress.finish_epoch(epoch + 1, means, samples, in_use)
            save(epoch + 1)
    return path


def training_options(config: TrainConfig) -> dict[str, Any]:
    """Gives the options as they stand in the checkpoint."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(config).items()}


def _batches(config: TrainConfig, model: ModelConfig, device: torch.device) -> tuple[ShuffledBatches, Batches]:
    clips = open_clips(
        config.data,
        "training",
        config.size,
        image_channels=config.image_channels,
        layout=config.layout,
        cache=config.cache,
    )
    windows = Windows(clips, model.frames_in, model.target, config.stride)
    sampler = ShuffledBatches(len(windows), config.batch_size, config.seed)
    return sampler, Batches(windows, sampler, device, config.workers, device_cache=config.device_cache)


def _step(fabric: Fabric, model: Any, optimizer: Any, batch: Tensor, loss_weight: float, usage: Tensor) -> Losses:
    frames = to_frames(batch, model.config.image_channels)
    restored = model(frames[:, : model.config.frames_in].flatten(1, 2))
    pixel = F.mse_loss(restored.frames.float(), frames[:, -1])
    compactness = separateness = torch.zeros_like(pixel)
    if restored.memory is not None:
        compactness = restored.memory.compactness.mean()
        if restored.memory.separateness is not None:
            separateness = restored.memory.separateness.mean()
        items = torch.arange(len(usage), device=usage.device)
        usage += (restored.memory.nearest.flatten().unsqueeze(1) == items).sum(0)
    losses = Losses(pixel + loss_weight * (compactness + separateness), pixel, compactness, separateness)
    optimizer.zero_grad()
    fabric.backward(losses.total)
    optimizer.step()
    return losses


def _means(totals: Tensor, count: int) -> dict[str, float]:
    total, pixel, compactness, separateness = (totals / count).tolist()
    return {
        "loss": total,
        "pixel": pixel,
        "compactness": compactness,
        "separateness": separateness,
        # Pixels lie in [-1, 1], so the error on the scale [0, 1] that PSNR is defined on is a quarter.
        "psnr": -10 * math.log10(pixel / 4) if pixel > 0 else math.inf,
    }


def _logged(means: dict[str, float], rate: float, samples: float, in_use: int | None) -> dict[str, float]:
    extra = {} if in_use is None else {"items_in_use": float(in_use)}
    return means | {"learning_rate": rate, "samples_per_second": samples} | extra


@contextmanager
def _stop_signals() -> Iterator[Any]:
    """Turns Ctrl-C and SIGTERM into a flag that the loop looks at between steps."""
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt

    previous = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
