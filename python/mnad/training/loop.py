"""The training loop: the published recipe, readable from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.fabric import Fabric
from torch import Tensor

from mnad.data import Batches, Clips, ShuffledBatches, Windows, to_frames
from mnad.models import ModelConfig
from mnad.models.memory_health import MemoryHealth, count_nearest, memory_health
from mnad.runtime.devices import warn_of_slow_precision
from mnad.runtime.errors import ConfigError, Interrupted, MnadError
from mnad.runtime.progress import log_to
from mnad.training.config import TrainConfig
from mnad.training.graphs import CudaRecorder, GraphedStep, Recorder
from mnad.training.launch import launch
from mnad.training.logs import begin_logs, log_epoch
from mnad.training.losses import Losses, add_noise, losses_of
from mnad.training.progress import TrainingProgress
from mnad.training.ranks import Ranks, lost_processes
from mnad.training.sharing import check_places, shared_clips
from mnad.training.state import TrainingState
from mnad.training.stopping import StopRequests


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
    fabric = launch(config)
    ranks = Ranks(fabric.global_rank, fabric.world_size)
    check_places(config, ranks)
    warn_of_slow_precision(config.precision, fabric.device)
    with log_to(config.out / "train.log") if ranks.first else nullcontext(), lost_processes():
        return _train(config, fabric, shared_clips(config, ranks))


def _train(config: TrainConfig, fabric: Fabric, clips: Clips) -> Path:
    sampler, batches = _batches(config, fabric, clips)
    config = replace(config, levels=batches.windows.clips.levels)
    fabric.seed_everything(config.seed, verbose=False)
    state = TrainingState.begin(config, fabric)
    learn = _step(config, fabric, _network(config, fabric, state), state)
    begin_logs(fabric, config, state.epoch)
    health = None

    with (
        TrainingProgress(config.epochs, len(sampler), enabled=fabric.is_global_zero) as progress,
        StopRequests(fabric) as requests,
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
                stop = requests.agreed(state.step)
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


def _batches(config: TrainConfig, fabric: Fabric, clips: Clips) -> tuple[ShuffledBatches, Batches]:
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


def _over_ranks(fabric: Fabric, value: Tensor, operation: str) -> Tensor:
    reduced = fabric.all_reduce(value, reduce_op=operation)
    assert isinstance(reduced, Tensor)
    return reduced
