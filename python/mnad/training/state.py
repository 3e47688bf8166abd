"""Where a training run stands: all that a checkpoint holds, and how a run goes on from it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor

from mnad.artifacts.checkpoint import Checkpoint, checkpoint_file, load_checkpoint, save_checkpoint
from mnad.models import Autoencoder, ModelConfig
from mnad.runtime.errors import ConfigError
from mnad.runtime.progress import print_line
from mnad.training.config import TrainConfig, check_resumable, training_options
from mnad.training.losses import Losses


@dataclass
class TrainingState:
    """A run at one moment.

    The order of the windows and the noise follow from seed, epoch and step, and the learning rate from the epoch: with
    weights, items, optimizer and these counts a run goes on as if it had never stopped.

    Attributes:
        model: The network, its items included.
        optimizer: Adam over its weights.
        path: The checkpoint's place.
        usage: (H * W, M), how often each item was nearest at each position, in this epoch.
        totals: The sums of the losses of this epoch.
        first_bad_step: The first step whose loss was not finite; -1 if there is none.
        epoch: Epochs finished.
        batch: Batches of the present epoch that are done.
        step: Steps taken in all.
    """

    model: Autoencoder
    optimizer: Any
    path: Path
    usage: Tensor
    totals: Tensor
    first_bad_step: Tensor
    epoch: int = 0
    batch: int = 0
    step: int = 0
    _stored: Checkpoint | None = field(default=None, repr=False)
    _precision: Any = field(default=None, repr=False)
    _generator: torch.Generator | None = field(default=None, repr=False)
    _seed: int = 0

    @classmethod
    def begin(cls, config: TrainConfig, fabric: Fabric) -> TrainingState:
        """Makes the state of a new run, or of one that is to be resumed.

        Raises:
            ConfigError: If the run to be resumed began by other options.
            CheckpointError: If its checkpoint cannot be read.
        """
        path = checkpoint_file(config.out)
        stored = _stored(path, config, fabric) if config.resume else None
        model = Autoencoder(config.model()) if stored is None else stored.build_model()
        model.to(device=fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        rate = config.recipe().learning_rate
        # A graph keeps every number that it was recorded with, so that what changes must stand in a tensor.
        lr = torch.tensor(rate, device=fabric.device) if config.cuda_graphs else rate
        optimizer = torch.optim.Adam(model.parameters(), lr, fused=True, capturable=config.cuda_graphs)
        positions = (config.size // 8) ** 2
        state = cls(
            model,
            optimizer,
            path,
            usage=torch.zeros(positions, config.num_items, dtype=torch.int64, device=fabric.device),
            totals=torch.zeros(len(Losses._fields), dtype=torch.float64, device=fabric.device),
            first_bad_step=torch.tensor(-1, device=fabric.device),
            _stored=stored,
            _precision=fabric.strategy.precision,
            _generator=torch.Generator(fabric.device),
            _seed=config.seed,
        )
        if stored is not None:
            state.epoch, state.batch, state.step = stored.epoch, stored.batch, stored.step
            state.totals.copy_(stored.loop["totals"])
            if fabric.is_global_zero:  # usage is summed over the devices at the end, totals are averaged
                state.usage.copy_(stored.loop["usage"])
        return state

    def restore_optimizer(self) -> None:
        """Restores the optimizer from what the checkpoint holds; called once it is set up for its devices."""
        if self._stored is None or self._stored.optimizer is None:
            return
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        ours = [{name: group[name] for name in ("lr", "capturable")} for group in optimizer.param_groups]
        optimizer.load_state_dict(self._stored.optimizer)
        for group, options in zip(optimizer.param_groups, ours, strict=True):
            group |= options
        for weight, moments in optimizer.state.items():
            for name, value in moments.items():
                if value.shape == weight.shape:  # a fused step wants moments that lie in memory as the weight does
                    moments[name] = torch.empty_like(weight).copy_(value)
        if self._stored.scaler:
            self._precision.load_state_dict(self._stored.scaler)
        self._stored = None

    def set_learning_rate(self, first: float, epochs: int) -> None:
        """Sets the learning rate of the present epoch: a cosine from ``first`` to 0."""
        for group in self.optimizer.param_groups:
            rate = first * (1 + math.cos(math.pi * self.epoch / epochs)) / 2
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def noise_generator(self, fabric: Fabric) -> torch.Generator:
        """Returns a generator that draws this step's noise on this device."""
        assert self._generator is not None
        return self._generator.manual_seed((self._seed * 1_000_003 + self.step) * 4099 + fabric.global_rank)

    def count(self, losses: Losses) -> None:
        """Counts a step, without waiting for the device."""
        self.batch += 1
        self.step += 1
        values = torch.stack(losses).double()
        self.totals += values
        bad = (self.first_bad_step < 0) & ~values[0].isfinite()
        self.first_bad_step = torch.where(bad, self.step, self.first_bad_step)

    def begin_epoch(self) -> None:
        """Counts an epoch and begins its sums anew."""
        self.epoch += 1
        self.batch = 0
        self.usage = torch.zeros_like(self.usage)
        self.totals = torch.zeros_like(self.totals)

    def save(self, config: TrainConfig, *, keep: bool = False) -> None:
        """Writes the checkpoint, and one without optimizer that stays if ``keep`` is set."""
        weights = self.model.state_dict()
        optimizer = self.optimizer.state_dict()
        optimizer["param_groups"] = [group | {"lr": float(group["lr"])} for group in optimizer["param_groups"]]
        checkpoint = Checkpoint(
            config=self.model.config,
            weights=weights,
            training=training_options(config),
            epoch=self.epoch,
            step=self.step,
            optimizer=optimizer,
            batch=self.batch,
            loop={"usage": self.usage, "totals": self.totals},
            scaler=self._precision.state_dict(),
        )
        save_checkpoint(self.path, checkpoint)
        if keep:
            kept = Checkpoint(checkpoint.config, weights, checkpoint.training, self.epoch, self.step, optimizer=None)
            save_checkpoint(config.out / "checkpoints" / f"epoch-{self.epoch:03d}.safetensors", kept)


def _stored(path: Path, config: TrainConfig, fabric: Fabric) -> Checkpoint | None:
    if not path.exists():
        if fabric.is_global_zero:
            print_line(f"there is no checkpoint in {config.out} to go on from; the run begins")
        return None
    stored = load_checkpoint(path)
    _check_model(config.model(), stored.config, config.out)
    if stored.optimizer is None or not stored.loop:
        raise ConfigError(f"{path} holds no optimizer and cannot be gone on from")
    check_resumable(config, stored.training)
    if fabric.is_global_zero:
        print_line(f"going on after epoch {stored.epoch}, batch {stored.batch}, step {stored.step}")
        if config.epochs > stored.training["epochs"]:
            print_line(
                f"training for {config.epochs} epochs and not the {stored.training['epochs']} of its beginning: the "
                "learning rate goes on along the longer cosine"
            )
    return stored


def _check_model(wanted: ModelConfig, stored: ModelConfig, out: Path) -> None:
    ours, theirs = asdict(wanted), asdict(stored)
    for name, value in ours.items():
        if value != theirs[name]:
            raise ConfigError(
                f"the checkpoint in {out} is of another network: its {name} is {theirs[name]}, not {value}"
            )
