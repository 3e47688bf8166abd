"""From a published checkpoint of the released code to a run that scores, evaluates and calibrates like any other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnad.artifacts.checkpoint import Checkpoint, checkpoint_file, save_checkpoint
from mnad.artifacts.released import Released, Target, read_released
from mnad.artifacts.run_folder import check_run_folder, clear_run_folder
from mnad.models import PRESETS, ModelConfig, PresetName
from mnad.runtime.choices import check_choices
from mnad.runtime.errors import CheckpointError, ConfigError
from mnad.runtime.files import file_sha256, writable_folder
from mnad.runtime.progress import print_line


@dataclass(frozen=True)
class ConvertConfig:
    """Options of a conversion.

    Attributes:
        model: A network of the released code as torch.save writes it: model.pth, or a state dict.
        keys: The items of its memory, keys.pt; left out for a network without memory.
        out: The run's folder. Made if need be.
        size: Height and width of the frames that it was trained on, a multiple of 8.
        target: What it restores, the next frame or the last of its input; told from the file if left out.
        overwrite: Whether to remove an earlier run from out, with all that was measured of it.
    """

    model: Path
    keys: Path | None = None
    out: Path = field(kw_only=True)
    size: int = 256
    target: Target | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_choices(self)
        if self.size < 8 or self.size % 8:
            raise ConfigError(f"size must be a multiple of 8, as three poolings halve it, got {self.size}")


def convert(config: ConvertConfig) -> Path:
    """Makes a run of a published network. Nothing that its files name is imported or called.

    Epoch and step are 0, as the files do not tell them, and there is no optimizer to go on with.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: If a file is damaged, is not of the released networks, or asks for anything they do not need.
        ConfigError: If out holds another run.
        OutputError: If the checkpoint cannot be written.
    """
    if config.keys is not None and config.keys.resolve() == config.model.resolve():
        raise CheckpointError(f"{config.keys} was given as the network and as its items, keys.pt; give both files")
    check_run_folder(config.out, overwrite=config.overwrite, resumable=False)
    released = read_released(config.model, config.keys, config.target)
    preset = nearest_preset(released.config)
    training = _training(config, released.config, preset)
    writable_folder(config.out)
    clear_run_folder(config.out)
    out = checkpoint_file(config.out)
    save_checkpoint(out, Checkpoint(released.config, released.weights, training, epoch=0, step=0, optimizer=None))
    for line in conversion_lines(config, released, preset):
        print_line(line)
    return out


def nearest_preset(config: ModelConfig) -> PresetName:
    """Returns the preset of the same architecture, whatever its width, or else the nearest.

    Example:
        >>> nearest_preset(ModelConfig(frames_in=1, target="last", skips=False, decoder="wide-up", width=8))
        'reconstruction-released'
    """

    def differences(name: PresetName) -> list[bool]:
        other = PRESETS[name].model
        memory = (config.memory is None) != (other.memory is None)
        rest = [getattr(config, each) != getattr(other, each) for each in ("skips", "decoder", "frames_in")]
        return [config.target != other.target, memory, *rest]

    return min(PRESETS, key=differences)


def conversion_lines(config: ConvertConfig, released: Released, preset: PresetName) -> list[str]:
    """Returns what was found, in a few lines for people."""
    model = released.config
    memory = f"{model.memory.num_items} items of width {model.channels}" if model.memory else "no memory"
    skips = "skips" if model.skips else f"no skips, decoder {model.decoder}"
    channels = f"{model.image_channels} channels" if model.image_channels > 1 else "1 channel"
    dropped = ", ".join(released.dropped) or "none"
    return [
        f"{preset}, width {model.width}, {model.frames_in} frames in of {channels}, {skips}, {memory}",
        f"it restores the {model.target} frame, {released.reason}; --target next or --target last says otherwise",
        f"tensors that nothing uses, left out: {dropped}",
        f"frames of {config.size} x {config.size}, as --size says; the files do not tell",
    ]


def _training(config: ConvertConfig, model: ModelConfig, preset: PresetName) -> dict[str, Any]:
    """Returns what is known of the training, by the names of its options."""
    known = {
        "preset": preset,
        "out": str(config.out),
        "size": config.size,
        "width": model.width,
        "image_channels": model.image_channels,
        "frames_in": model.frames_in,
    }
    if model.memory:
        known |= {"num_items": model.memory.num_items, "update_rule": model.memory.update_rule}
    files = {"model": config.model, "keys": config.keys}
    return known | {"converted_from": {role: _named(path) for role, path in files.items() if path is not None}}


def _named(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": file_sha256(path)}
