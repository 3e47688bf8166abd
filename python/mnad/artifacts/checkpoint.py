"""One safe file: weights, items, configuration, optimizer and position of a training run.

The file is a safetensors file; loading it runs no code. Tensors are named ``model.*`` and ``optimizer.INDEX.*``; all
else stands as JSON in the file's metadata.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnad.artifacts.export import is_export, keep_calibration, read_export, read_header, read_weights_hash, write_export
from mnad.artifacts.installed_weights import installed_weights
from mnad.artifacts.tensors import load_metadata, load_tensors, save_tensors
from mnad.graphs.folder import is_exported_model
from mnad.models import Autoencoder, MemoryConfig, ModelConfig, weights_hash
from mnad.runtime.errors import CheckpointError
from mnad.runtime.files import input_errors, only_known, sealed, unsealed

FORMAT = "mnad-checkpoint/1"
EARLIER_DECODERS = {"report": "narrow-up", "released": "wide-up"}  # names in files of earlier versions
PLACES = ("data", "out", "cache")  # options of a training run that are paths


@dataclass(frozen=True)
class Checkpoint:
    """A training run at one moment.

    Attributes:
        config: The network's variant.
        weights: The network's state dict, items included.
        training: The options of the run, as they were given.
        epoch: Epochs finished.
        step: Optimizer steps taken.
        optimizer: The optimizer's state dict; None if it is not wanted.
        batch: Batches done of the epoch that is not finished.
        loop: Sums of that epoch that the loop goes on with.
        scaler: The state of the gradient scaler of 16-mixed.
        calibration: Scaling and thresholds of the scores, see :class:`mnad.evaluation.Calibration`; None until
            ``mnad calibrate`` has found them.
        usual: The tensors of :class:`mnad.measuring.usual.Usual`, which the calibration's scores count in relation to;
            none where they count in relation to nothing.
    """

    config: ModelConfig
    weights: dict[str, Tensor]
    training: dict[str, Any]
    epoch: int
    step: int
    optimizer: dict[str, Any] | None
    batch: int = 0
    loop: dict[str, Tensor] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    usual: dict[str, Tensor] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Returns the identity of the model: the hash of its weights, and for people preset, epoch and step."""
        return {**self.training, "epoch": self.epoch, "step": self.step, "weights": weights_hash(self.weights)}

    def build_model(self) -> Autoencoder:
        """Makes the network and loads its weights and items.

        Raises:
            CheckpointError: If the weights are not those of the configuration.
        """
        _check_weights(self.config, self.weights, "the checkpoint")
        model = Autoencoder(self.config)
        model.load_state_dict(self.weights)
        return model


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint; the file that was there before stays until the new one is whole.

    Raises:
        OutputError: If it cannot be written.
    """
    tensors = {f"model.{name}": value for name, value in checkpoint.weights.items()}
    tensors |= {f"loop.{name}": value for name, value in checkpoint.loop.items()}
    tensors |= {f"usual.{name}": value for name, value in checkpoint.usual.items()}
    optimizer = checkpoint.optimizer or {"state": {}, "param_groups": []}
    scalars: dict[str, float] = {}
    for index, state in optimizer["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                scalars[f"{index}.{name}"] = value
    header = {
        "tensors": weights_hash(tensors),
        "model": asdict(checkpoint.config),
        "training": checkpoint.training,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "batch": checkpoint.batch,
        "scaler": checkpoint.scaler,
        "calibration": checkpoint.calibration,
        "param_groups": optimizer["param_groups"] if checkpoint.optimizer else None,
        "optimizer_scalars": scalars,
    }
    save_tensors(path, tensors, {"format": FORMAT, "header": json.dumps(sealed(header))})


def save_calibration(place: Path, measured: Checkpoint, calibration: dict[str, Any], usual: dict[str, Tensor]) -> None:
    """Stores a calibration in the checkpoint that was measured for it.

    Args:
        place: Where it was loaded from, see :func:`load_checkpoint`.
        measured: What was loaded.
        calibration: As plain values for JSON.
        usual: Tensors that belong to it.

    Raises:
        CheckpointError: If there is another model by now, as where training went on.
        OutputError: If it cannot be written.
    """
    check_own(place)
    now = load_checkpoint(place)
    if now.describe() != measured.describe():
        raise CheckpointError(f"the model in {place} was trained on while it was measured; calibrate it again")
    if is_export(place):
        keep_calibration(place, shareable(calibration), usual)
    else:
        save_checkpoint(checkpoint_file(place), replace(now, calibration=calibration, usual=usual))


def shareable(calibration: dict[str, Any]) -> dict[str, Any]:
    """Returns a calibration as it is passed on: of the place of its video the name alone."""
    return calibration | {"data": Path(calibration["data"]).name}


def check_own(place: Path) -> None:
    """Makes sure that a calibration may be stored in a place.

    Raises:
        CheckpointError: If it is the name of weights that are installed.
    """
    if located(place) != place:
        raise CheckpointError(
            f"{place} is installed and stays as it is; make a folder of your own, and name that: mnad export {place} "
            f"--format weights --out runs/{place}"
        )


def export_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes what scoring needs of a checkpoint in half precision, in files that are small enough to be sent.

    Args:
        folder: Made if need be; :func:`load_checkpoint` takes it.
        checkpoint: Its optimizer and the sums of an unfinished epoch are left out, and its calibration, too, where
            half precision changes the weights: it would be that of another model.

    Returns:
        The manifest, see :mod:`mnad.artifacts.export`.

    Raises:
        OutputError: If it cannot be written, or a weight does not fit into float16.
    """
    # Where its files lay is nobody's business but the owner's; what they were called tells what it was trained on.
    places = {name: Path(place).name for name in PLACES if (place := checkpoint.training.get(name))}
    header = {
        "model": asdict(checkpoint.config),
        "training": checkpoint.training | places,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
    }
    manifest = write_export(folder, checkpoint.weights, header)
    # Of weights that float16 has not changed the calibration holds on.
    if checkpoint.calibration is not None and read_weights_hash(folder) == weights_hash(checkpoint.weights):
        keep_calibration(folder, shareable(checkpoint.calibration), checkpoint.usual)
    return manifest


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint onto the CPU. Nothing is unpickled.

    Args:
        path: A checkpoint file, the folder of a run, which holds ``checkpoint.safetensors``, or a folder of exported
            weights, which come without an optimizer; or the name of weights that are installed.

    Raises:
        CheckpointError: If there is none, or one of each, or the file is no checkpoint or not whole.
    """
    path = located(path)
    if _is_exported(path):
        weights, usual, header = read_export(path)
        with input_errors(path, "an export", CheckpointError):
            config = _model_config(header["model"], path)
            _check_weights(config, weights, path)
            calibration = header.get("calibration")
            run = header["training"], header["epoch"], header["step"]
            return Checkpoint(config, weights, *run, optimizer=None, calibration=calibration, usual=usual)
    file = _existing(path)
    with input_errors(file, "a checkpoint", CheckpointError):
        tensors, metadata = load_tensors(file)
        return _checkpoint(file, metadata, tensors)


def epochs_done(path: Path) -> int:
    """Returns how many epochs a checkpoint or an export has finished, by its header alone.

    Raises:
        CheckpointError: If there is none, or one of each, or the file is no checkpoint.
    """
    path = located(path)
    if _is_exported(path):
        return int(read_header(path)["epoch"])
    file = _existing(path)
    with input_errors(file, "a checkpoint", CheckpointError):
        return int(_header(file, load_metadata(file))["epoch"])


def holds_checkpoint(folder: Path) -> bool:
    """Returns whether a folder holds a run's checkpoint or exported weights."""
    return is_export(folder) or checkpoint_file(folder).is_file()


def located(path: Path) -> Path:
    """Returns the folder of weights that are installed, where a path is their name and holds no checkpoint itself."""
    return path if holds_checkpoint(path) else installed_weights().get(str(path), path)


def checkpoint_file(place: Path) -> Path:
    """Returns the checkpoint of a run's folder; the path itself if it is no folder."""
    return place / "checkpoint.safetensors" if place.is_dir() else place


def _is_exported(path: Path) -> bool:
    if is_export(path) and checkpoint_file(path).is_file():
        raise CheckpointError(
            f"{path} holds a run's checkpoint and exported weights; name the file {checkpoint_file(path)}, or move the "
            "exported weights to a folder of their own"
        )
    return is_export(path)


def _existing(path: Path) -> Path:
    file = checkpoint_file(path)
    if not file.is_file() and is_exported_model(path):
        raise CheckpointError(
            f"{path} holds a model that was exported for other runtimes, which mnad does not go back from; name the "
            "run that it was made of"
        )
    if not file.is_file():
        known = ", ".join(installed_weights())
        others = f", or weights that are installed: {known}" if known else ""
        raise CheckpointError(f"there is no checkpoint at {file}; name a run's folder or its checkpoint file{others}")
    return file


def _header(file: Path, metadata: dict[str, str]) -> dict[str, Any]:
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{file} is a safetensors file but not an {FORMAT} checkpoint (format {metadata.get('format')!r})"
        )
    return unsealed(json.loads(metadata["header"]))


def _checkpoint(file: Path, metadata: dict[str, str], tensors: dict[str, Tensor]) -> Checkpoint:
    header = _header(file, metadata)
    if header.get("tensors") not in (None, weights_hash(tensors)):
        raise CheckpointError(f"{file} does not hold the tensors that were written; copy it again")
    config = _model_config(header["model"], file)
    weights = _named("model.", tensors)
    _check_weights(config, weights, file)
    return Checkpoint(
        config=config,
        weights=weights,
        training=header["training"],
        epoch=header["epoch"],
        step=header["step"],
        optimizer=_optimizer_state(header, tensors),
        batch=header["batch"],
        loop=_named("loop.", tensors),
        usual=_named("usual.", tensors),
        scaler=header["scaler"],
        calibration=header.get("calibration"),
    )


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _model_config(values: dict[str, Any], file: Path) -> ModelConfig:
    only_known(values, ModelConfig, file, CheckpointError)
    values["decoder"] = EARLIER_DECODERS.get(values["decoder"], values["decoder"])
    memory = values.pop("memory")
    if memory:
        only_known(memory, MemoryConfig, file, CheckpointError)
    return ModelConfig(**values, memory=MemoryConfig(**memory) if memory else None)


def _check_weights(config: ModelConfig, weights: dict[str, Tensor], where: object) -> None:
    with torch.device("meta"):  # takes no memory, whatever sizes a damaged configuration names
        model = Autoencoder(config)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:
        name = min(set(expected.items()) ^ set(found.items()))[0]
        raise CheckpointError(
            f"the weights of {where} are not those of its configuration: {name} should be "
            f"{expected.get(name, 'absent')} and is {found.get(name, 'absent')}"
        )


def _optimizer_state(header: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any] | None:
    if header["param_groups"] is None:
        return None
    state: dict[int, dict[str, Any]] = {}
    for name, value in _named("optimizer.", tensors).items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    for name, scalar in header["optimizer_scalars"].items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = torch.tensor(scalar)
    return {"state": state, "param_groups": header["param_groups"]}
