"""The training loop: the published recipe, readable from top to bottom."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from lightning.fabric import Fabric
from torch import Tensor

from mnad.artifacts.run_folder import check_run_folder
from mnad.data import Batches, ShuffledBatches, Windows, open_clips, to_frames
from mnad.data.cache import check_data
from mnad.models import ModelConfig
from mnad.models.memory_health import MemoryHealth, count_nearest, memory_health
from mnad.runtime.devices import choose_device, warn_of_slow_precision
from mnad.runtime.errors import ConfigError, Interrupted, MnadError
from mnad.runtime.files import writable_folder
from mnad.runtime.progress import log_to
from mnad.training.config import TrainConfig
from mnad.training.graphs import CudaRecorder, GraphedStep, Recorder
from mnad.training.logs import begin_logs, log_epoch
from mnad.training.losses import Losses, add_noise, losses_of
from mnad.training.progress import TrainingProgress
from mnad.training.state import TrainingState

# With several processes they agree on stopping only now and then, as it takes a message.
STEPS_BETWEEN_AGREEMENTS = 20


class StepResult(NamedTuple):
    """The losses of a step and, with a memory, the nearest item of each query."""

    losses: Losses
    nearest: Tensor | None


Step = Callable[[Tensor, Tensor], StepResult]


def train(config: TrainConfig) -> Path:
    """Trains a network; ``config.out`` then holds ``checkpoint.safetensors``, ``curves/metrics.csv`` and ``train.log``.

    Returns:
        The checkpoint's path.

    Raises:
        ConfigError: If options do not fit each other, the data or the run that is to be resumed.
        DataError: If the data are not as they should be.
        OutputError: If the folder cannot be written.
        Interrupted: If the run was stopped; ``resume`` goes on from its checkpoint.
        MnadError: If the loss is no longer finite; the checkpoint of the epoch before stays.
    """
    check_data(config.data, "training", config.layout)  # a fault of the data shows before a folder is made
    if not config.resume:
        check_run_folder(config.out, overwrite=config.overwrite)
    fabric = _launch(config)
    warn_of_slow_precision(config.precision, fabric.device)
    if fabric.is_global_zero:
        writable_folder(config.out)
    fabric.barrier()
    with log_to(config.out / "train.log") if fabric.is_global_zero else nullcontext():
        return _train(config, fabric)


def _train(config: TrainConfig, fabric: Fabric) -> Path:
    sampler, batches = _batches(config, fabric)
    config = replace(config, levels=batches.windows.clips.levels)
    fabric.seed_everything(config.seed, verbose=False)
    state = TrainingState.begin(config, fabric)
    learn = _step(config, fabric, _network(config, fabric, state), state)
    begin_logs(fabric, config, state.epoch)
    health = None

    with (
        TrainingProgress(config.epochs, len(sampler), enabled=fabric.is_global_zero) as progress,
        _stop_signals() as stopped,
    ):
        for epoch in range(state.epoch, config.epochs):
            state.set_learning_rate(config.recipe().learning_rate, config.epochs)
            sampler.at(epoch, state.batch)
            began, first, stop = time.perf_counter(), state.batch, False
            for batch in batches:
                result = learn(*_frames(fabric, config, state, batch))
                state.count(result.losses)
                if result.nearest is not None:
                    state.usage += count_nearest(result.nearest, config.num_items)
                progress.advance(state.batch, partial(_means, state))
                stop = _all_agree_to_stop(fabric, state.step, stopped)
                if stop and state.batch < len(sampler):
                    _stop(fabric, config, state)
            samples = (len(sampler) - first) * config.batch_size * fabric.world_size / (time.perf_counter() - began)
            means, health = _finish_epoch(fabric, config, state)
            log_epoch(fabric, state, means, health, samples)
            _save_epoch(fabric, config, state)
            progress.finish_epoch(epoch + 1, means, samples, health)
            if stop and state.epoch < config.epochs:
                _stop(fabric, config, state)
        progress.finish(health)
    return state.path


def _launch(config: TrainConfig) -> Fabric:
    several = config.devices * config.num_nodes > 1
    choose_device(config.accelerator)  # refuses what is no device
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy="ddp" if several else "auto",
        precision=config.precision,
    )
    fabric.launch()
    return fabric


def _batches(config: TrainConfig, fabric: Fabric) -> tuple[ShuffledBatches, Batches]:
    clips = open_clips(
        config.data,
        "training",
        config.size,
        image_channels=config.image_channels,
        layout=config.layout,
        levels=config.levels or "choose",
        cache=config.cache,
        progress=fabric.is_global_zero,
    )
    model = config.model()
    windows = Windows(clips, model.frames_in, model.target, config.stride, config.hold_out)
    sampler = ShuffledBatches(len(windows), config.batch_size, config.seed, fabric.global_rank, fabric.world_size)
    return sampler, Batches(windows, sampler, fabric.device, config.workers, device_cache=config.device_cache)


def _network(config: TrainConfig, fabric: Fabric, state: TrainingState) -> Callable[..., Any]:
    """Returns the model on its device, across devices, compiled if asked for."""
    model: Any = state.model
    if config.sync_batchnorm:
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if config.compile:
        model = torch.compile(model, fullgraph=True)
    network, state.optimizer = fabric.setup(model, state.optimizer)
    state.restore_optimizer()
    return network  # type: ignore[no-any-return]


def _frames(fabric: Fabric, config: TrainConfig, state: TrainingState, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the network's input for a batch, (B, frames_in * C_img, H, W), and its target, (B, C_img, H, W)."""
    model: ModelConfig = state.model.config
    frames = to_frames(batch, model.image_channels)
    shown = frames[:, : model.frames_in]
    if noise := config.recipe().noise:
        shown = add_noise(shown, noise, state.noise_generator(fabric))
    return shown.flatten(1, 2).contiguous(memory_format=torch.channels_last), frames[:, -1]


def _step(config: TrainConfig, fabric: Fabric, network: Callable[..., Any], state: TrainingState) -> Step:
    """Returns the training step: from frames to losses, with all weights and the items moved."""
    optimizer, weights = state.optimizer, config.loss_weights()

    def learn(shown: Tensor, target: Tensor) -> StepResult:
        restored = network(shown)
        losses = losses_of(restored, target, weights)
        optimizer.zero_grad()
        fabric.backward(losses.total)
        optimizer.step()
        nearest = None if restored.memory is None else restored.memory.nearest
        return StepResult(Losses(*(part.detach() for part in losses)), nearest)

    return GraphedStep(learn, _recorder(fabric)) if config.cuda_graphs else learn


def _recorder(fabric: Fabric) -> Recorder[StepResult]:
    if fabric.device.type != "cuda":
        raise ConfigError(f"cuda_graphs needs a GPU, and the device is {fabric.device}; leave it off")
    return CudaRecorder()


def _finish_epoch(
    fabric: Fabric, config: TrainConfig, state: TrainingState
) -> tuple[dict[str, float], MemoryHealth | None]:
    """Sums up over all devices and begins the next epoch."""
    _sum_up(fabric, config, state)
    means = _means(state)
    memory = state.model.memory
    health = None if memory is None else memory_health(state.usage, memory.items)
    state.begin_epoch()
    return means, health


def _save_epoch(fabric: Fabric, config: TrainConfig, state: TrainingState) -> None:
    """Saves an epoch that is logged, so that no checkpoint is without its row of the curves."""
    if fabric.is_global_zero:
        state.save(config, keep=config.keep_every > 0 and state.epoch % config.keep_every == 0)
    fabric.barrier()


def _sum_up(fabric: Fabric, config: TrainConfig, state: TrainingState) -> None:
    """Makes the sums of this epoch those of all devices, and makes sure that the loss was finite on each.

    Raises:
        MnadError: If it was not; on every device, so that none overwrites the checkpoint or waits for another.
    """
    state.totals = _over_ranks(fabric, state.totals, "mean")
    state.usage = _over_ranks(fabric, state.usage, "sum")
    bad = int(_over_ranks(fabric, state.first_bad_step, "max"))
    if bad >= 0:
        kept = f"{state.path} holds epoch {state.epoch}" if state.path.exists() else "no checkpoint was written"
        raise MnadError(
            f"the loss was not finite at step {bad}, in epoch {state.epoch + 1}; lower the learning rate "
            f"({config.recipe().learning_rate:g}). {kept}"
        )


def _stop(fabric: Fabric, config: TrainConfig, state: TrainingState) -> None:
    if state.batch > 0:  # a finished epoch is saved already
        _sum_up(fabric, config, state)
        if fabric.is_global_zero:
            state.save(config)
        fabric.barrier()
    raise Interrupted(f"stopped after step {state.step}, in epoch {state.epoch + 1}; the same with --resume goes on")


def _means(state: TrainingState) -> dict[str, float]:
    total, pixel, *others = (state.totals / max(state.batch, 1)).tolist()
    # Pixels lie in [-1, 1], so the error on the scale [0, 1] that PSNR is defined on is a quarter.
    psnr = -10 * math.log10(pixel / 4) if pixel > 0 else math.inf
    names = Losses._fields[2:]
    return {"loss": total, "pixel": pixel, **dict(zip(names, others, strict=True)), "psnr": psnr}


def _all_agree_to_stop(fabric: Fabric, step: int, stopped: Callable[[], bool]) -> bool:
    if fabric.world_size == 1:
        return stopped()
    if step % STEPS_BETWEEN_AGREEMENTS:
        return False
    asked = torch.tensor(float(stopped()), device=fabric.device)
    return bool(_over_ranks(fabric, asked, "sum") > 0)


def _over_ranks(fabric: Fabric, value: Tensor, operation: str) -> Tensor:
    reduced = fabric.all_reduce(value, reduce_op=operation)
    assert isinstance(reduced, Tensor)
    return reduced


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turns Ctrl-C and SIGTERM into a flag that the loop looks at between steps; a second one ends it at once."""
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
