"""From a network of the released code (Park et al., CVPR 2020) to ours: names, widths, the order of channels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mnad.artifacts.torch_files import read_network, read_tensor
from mnad.models import Autoencoder, MemoryConfig, ModelConfig
from mnad.models.autoencoder import DecoderWidths
from mnad.runtime.errors import CheckpointError, ConfigError
from mnad.runtime.files import input_errors

Target = Literal["next", "last"]

NAMES = {
    "encoder.stages.0": "encoder.moduleConv1",
    "encoder.stages.1": "encoder.moduleConv2",
    "encoder.stages.2": "encoder.moduleConv3",
    "encoder.stages.3": "encoder.moduleConv4",
    "decoder.entry": "decoder.moduleConv",
    "decoder.ups.0": "decoder.moduleUpsample4",
    "decoder.ups.1": "decoder.moduleUpsample3",
    "decoder.ups.2": "decoder.moduleUpsample2",
    "decoder.stages.0": "decoder.moduleDeconv3",
    "decoder.stages.1": "decoder.moduleDeconv2",
    "decoder.stages.2": "decoder.moduleDeconv1",
    "decoder.exit.0": "decoder.moduleDeconv1.6",
}  # our modules, and theirs
FIRST, LAST = "encoder.moduleConv1.0.weight", "decoder.moduleDeconv1.6.weight"
ENTRY, UP, STAGE = "decoder.moduleConv.0.weight", "decoder.moduleUpsample4.0.weight", "decoder.moduleDeconv3.0.weight"
UNUSED = "encoder.moduleBatchNorm."
ITEMS = "memory.items"
COUNTER = ".num_batches_tracked"  # torch before 0.4.1 had none
JOINED = tuple(f"decoder.stages.{index}.0.weight" for index in range(3))  # the convolutions that see the skips
UNIT = 1e-3  # how far the length of an item may be from 1


@dataclass(frozen=True)
class Released:
    """A network of the released code as one of ours.

    Attributes:
        config: Its variant.
        weights: Our state dict, items included, in float32.
        reason: What the target follows from.
        dropped: Names of the tensors that ours does not have, as nothing uses them.
    """

    config: ModelConfig
    weights: dict[str, Tensor]
    reason: str
    dropped: tuple[str, ...]


def read_released(model: Path, keys: Path | None = None, target: Target | None = None) -> Released:
    """Reads a network and its items; nothing of the files is run.

    Args:
        model: The network, or its state dict, as ``torch.save`` writes it.
        keys: The items, (M, C); None for a network without memory.
        target: What the network restores; None to tell it from the network's class, or else from its skips.

    Raises:
        CheckpointError: If a file is not what it should be; the message names the tensor that differs.

    Example:
        >>> from pathlib import Path
        >>> read_released(Path("notes.pth"))
        Traceback (most recent call last):
        mnad.runtime.errors.CheckpointError: there is no file notes.pth
    """
    tensors, network = read_network(model)
    with input_errors(model, "one of the released networks", CheckpointError):
        return _released(tensors, network, model, keys, target)


def _released(
    tensors: dict[str, Tensor], network: str | None, model: Path, keys: Path | None, target: Target | None
) -> Released:
    width, memory = _width(tensors, model), _has_memory(tensors, model)
    if memory and keys is None:
        raise CheckpointError(f"the network in {model} has a memory: give the file of its items, keys.pt, too")
    if not memory and keys is not None:
        raise CheckpointError(f"the network in {model} has no memory, so that {keys} cannot be of it: leave it out")
    items = _items(keys, 8 * width) if keys is not None else None
    skips, decoder = _layout(tensors, width, model)
    target, reason = _target(target, network, skips)
    try:
        config = ModelConfig(
            frames_in=_frames_in(tensors, model),
            target=target,
            skips=skips,
            memory=None if items is None else MemoryConfig(len(items)),
            decoder=decoder,
            width=width,
            image_channels=_shape(tensors, LAST, model)[0],
        )
    except ConfigError as error:
        raise CheckpointError(f"{model} is not one of the released networks: {error}") from error
    weights = _renamed(config, tensors, model)
    if skips:
        weights |= {name: _upsampled_first(weights[name]) for name in JOINED}
    if items is not None:
        weights[ITEMS] = items
    return Released(config, weights, reason, tuple(sorted(name for name in tensors if name.startswith(UNUSED))))


def _shape(tensors: dict[str, Tensor], name: str, path: Path) -> tuple[int, ...]:
    if name not in tensors:
        raise CheckpointError(f"{path} is not one of the released networks: it has no {name}")
    shape = tuple(tensors[name].shape)
    if len(shape) != 4 or 0 in shape:
        raise CheckpointError(f"{path} is not one of the released networks: {name} is no convolution, but {shape}")
    return shape


def _width(tensors: dict[str, Tensor], path: Path) -> int:
    return _shape(tensors, FIRST, path)[0]


def _frames_in(tensors: dict[str, Tensor], path: Path) -> int:
    into, channels = _shape(tensors, FIRST, path)[1], _shape(tensors, LAST, path)[0]
    if into % channels:
        raise CheckpointError(
            f"{path} is not one of the released networks: {FIRST} takes {into} channels, which are no whole number of "
            f"frames of the {channels} that {LAST} gives"
        )
    return into // channels


def _has_memory(tensors: dict[str, Tensor], path: Path) -> bool:
    into, channels = _shape(tensors, ENTRY, path)[1], 8 * _width(tensors, path)
    if into not in (channels, 2 * channels):
        raise CheckpointError(
            f"{path} is not one of the released networks: {ENTRY} takes {into} channels and should take "
            f"{2 * channels} with a memory or {channels} without one"
        )
    return into == 2 * channels


def _layout(tensors: dict[str, Tensor], width: int, path: Path) -> tuple[bool, DecoderWidths]:
    """Returns whether there are skips, and the decoder's widths, by its first up-convolution and the stage after it."""
    narrow, wide = 4 * width, 8 * width
    known: dict[tuple[int, int], tuple[bool, DecoderWidths]] = {
        (narrow, wide): (True, "narrow-up"),
        (narrow, narrow): (False, "narrow-up"),
        (wide, wide): (False, "wide-up"),
    }
    found = _shape(tensors, UP, path)[1], _shape(tensors, STAGE, path)[1]
    if found not in known:
        raise CheckpointError(
            f"{path} is not one of the released networks: {UP} gives {found[0]} channels and {STAGE} takes {found[1]}, "
            f"which should be {narrow} and {wide} with skips, {narrow} and {narrow} or {wide} and {wide} without"
        )
    return known[found]


def _target(wanted: Target | None, network: str | None, skips: bool) -> tuple[Target, str]:
    if wanted is not None:
        return wanted, "as it was asked for"
    named = (network or "").rpartition(".")[0].lower()
    if "reconstruction" in named:
        return "last", f"as its class is {network}"
    if "prediction" in named:
        return "next", f"as its class is {network}"
    return ("next", "as it has skips") if skips else ("last", "as it has no skips")


def _items(path: Path, channels: int) -> Tensor:
    items = read_tensor(path)
    if items.ndim != 2 or len(items) == 0 or not items.is_floating_point():
        found = f"{items.dtype}, {tuple(items.shape)}"
        raise CheckpointError(f"the items in {path} should be numbers of shape (M, {channels}) and are {found}")
    if items.shape[1] != channels:
        raise CheckpointError(f"the items in {path} have width {items.shape[1]}, but the network has {channels}")
    items = items.to(torch.float32, copy=True).contiguous()
    off = (items.double().norm(dim=1) - 1).abs()
    if not bool((off <= UNIT).all()):  # false for NaN, too
        worst = int(off.nan_to_num(nan=float("inf")).argmax())
        length = float(items[worst].double().norm())
        raise CheckpointError(f"the items in {path} should have length 1, and item {worst} has {length:.4g}")
    return items


def _renamed(config: ModelConfig, tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Returns our weights but the items; all are there and of their shapes, and nothing is left but the unused."""
    with torch.device("meta"):
        model = Autoencoder(config)
    expected = {name: value for name, value in model.state_dict().items() if name != ITEMS}
    theirs = {name: _their_name(name) for name in expected}
    if unknown := sorted(name for name in set(tensors) - set(theirs.values()) if not name.startswith(UNUSED)):
        raise CheckpointError(
            f"{path} is not one of the released networks: it has {unknown[0]!r:.200}, which none of them has"
        )
    return {name: _converted(tensors, theirs[name], like, path) for name, like in expected.items()}


def _converted(tensors: dict[str, Tensor], name: str, like: Tensor, path: Path) -> Tensor:
    if name not in tensors and name.endswith(COUNTER):
        return torch.zeros((), dtype=like.dtype)
    shape = tuple(tensors[name].shape) if name in tensors else "absent"
    if shape != tuple(like.shape):
        raise CheckpointError(
            f"{path} is not one of the released networks: {name} should be {tuple(like.shape)} and is {shape}"
        )
    found = tensors[name]
    if found.is_floating_point() != like.is_floating_point():
        raise CheckpointError(f"{path}: {name} should be {like.dtype} and is {found.dtype}")
    found = found.to(like.dtype, copy=True).contiguous()
    if not bool(found.isfinite().all()):
        raise CheckpointError(f"{path}: {name} has numbers that are not finite; its training has diverged")
    return found


def _their_name(name: str) -> str:
    ours = next(ours for ours in NAMES if name.startswith(f"{ours}."))
    return NAMES[ours] + name.removeprefix(ours)


def _upsampled_first(weight: Tensor) -> Tensor:
    """Swaps the halves of the input channels: in the released code the skip comes before what was upsampled."""
    skip, upsampled = weight.chunk(2, dim=1)
    return torch.cat([upsampled, skip], dim=1)
