"""The one network that all variants are points of: an encoder, perhaps a memory, a decoder, perhaps with skips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from mnad.runtime.choices import check_choices
from mnad.runtime.errors import ConfigError
from mnad_ext import UPDATE_RULES, MemoryModule, MemoryOutput, UpdateRule
from mnad_ext._vector_math import settle

DecoderWidths = Literal["narrow-up", "wide-up"]

settle(torch.tanh)


@dataclass(frozen=True)
class MemoryConfig:
    """Options of the memory.

    Attributes:
        num_items: M, the number of items.
        update_rule: How the items are updated, see :func:`mnad_ext.memory_update`.
        grad_through_weights: Whether the readout's gradient passes through the matching probabilities.
    """

    num_items: int = 10
    update_rule: UpdateRule = "max-all"
    grad_through_weights: bool = False

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.num_items < 1:
            raise ConfigError(f"num_items must be at least 1, got {self.num_items}")
        if self.update_rule not in UPDATE_RULES:
            raise ConfigError(f"update_rule must be one of {', '.join(UPDATE_RULES)}, got {self.update_rule!r}")


@dataclass(frozen=True)
class ModelConfig:
    """A point among the variants of the network.

    Attributes:
        frames_in: Input frames.
        target: What is restored: the ``"next"`` frame, or the ``"last"`` of the input.
        skips: Whether the encoder's first three stages are joined to the decoder's.
        memory: Options of the memory; None for none.
        decoder: Widths of a decoder without skips: ``"narrow-up"`` (the paper) narrows in the up-convolutions,
            ``"wide-up"`` (the released code) in the convolutions after them. With skips both are the same.
        width: Channels of the first stage; the published networks have 64.
        image_channels: C_img, 3 (BGR) or 1 (grey).
    """

    frames_in: int = 4
    target: Literal["next", "last"] = "next"
    skips: bool = True
    memory: MemoryConfig | None = MemoryConfig()
    decoder: DecoderWidths = "narrow-up"
    width: int = 64
    image_channels: int = 3

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_choices(self)
        for name in ("frames_in", "width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.image_channels not in (1, 3):
            raise ConfigError(f"image_channels must be 3 (colour) or 1 (grey), got {self.image_channels}")

    @property
    def channels(self) -> int:
        """C, the width of the feature map."""
        return 8 * self.width

    @property
    def window(self) -> int:
        """T, the frames that a score takes: those that are shown, and the next one where that is the target."""
        return self.frames_in + (self.target == "next")

    @property
    def task(self) -> str:
        """The task in a word."""
        return "prediction" if self.target == "next" else "reconstruction"


class ModelOutput(NamedTuple):
    """What the network gives.

    Attributes:
        frames: (B, C_img, H, W) in [-1, 1], the predicted or restored frames.
        features: (B, C, H/8, W/8), the encoder's output, before normalisation.
        memory: What the memory gives; None without one.
    """

    frames: Tensor
    features: Tensor
    memory: MemoryOutput | None


class Autoencoder(nn.Module):
    """The network of Park et al. (CVPR 2020), in any of its variants.

    In training mode the memory updates its items in every forward pass, see :class:`mnad_ext.MemoryModule`.

    Args:
        config: Which variant.

    Example:
        >>> import torch
        >>> model = Autoencoder(ModelConfig(width=8))
        >>> model(torch.rand(2, 4 * 3, 64, 64) * 2 - 1).frames.shape
        torch.Size([2, 3, 64, 64])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        options = config.memory
        self.memory = (
            MemoryModule(
                config.channels,
                options.num_items,
                update_rule=options.update_rule,
                grad_through_weights=options.grad_through_weights,
            )
            if options
            else None
        )
        self.decoder = Decoder(config)

    def forward(self, frames: Tensor) -> ModelOutput:
        """Predicts or restores a frame.

        Args:
            frames: (B, frames_in * C_img, H, W) in [-1, 1], H and W multiples of 8.

        Raises:
            ValueError: If the shape does not fit.
        """
        expected = self.config.frames_in * self.config.image_channels
        if frames.ndim != 4 or frames.shape[1] != expected or frames.shape[2] % 8 or frames.shape[3] % 8:
            raise ValueError(
                f"frames must be (B, {expected}, H, W) with H and W multiples of 8, got {tuple(frames.shape)}"
            )
        features, skips = self.encoder(frames)
        memory = self.memory(features) if self.memory is not None else None
        code = features if memory is None else memory.output
        return ModelOutput(self.decoder(code, skips), features, memory)


class Encoder(nn.Module):
    """Four stages of two convolutions, a pooling after each but the last; the very last convolution is bare."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.stages = nn.ModuleList(
            [
                _two_convs(config.frames_in * config.image_channels, width),
                _two_convs(width, 2 * width),
                _two_convs(2 * width, 4 * width),
                nn.Sequential(*_conv(4 * width, 8 * width), nn.Conv2d(8 * width, 8 * width, 3, padding=1)),
            ]
        )
        self.pool = nn.MaxPool2d(2)

    def forward(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns the feature map and the outputs of the first three stages, finest first."""
        skips = []
        x = frames
        for stage in self.stages[:-1]:
            x = stage(x)
            skips.append(x)
            x = self.pool(x)
        return self.stages[-1](x), skips


class Decoder(nn.Module):
    """Two convolutions, then three times an up-convolution and, joined to the skip of its size, a stage."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.skips = config.skips
        width, channels = config.width, config.channels
        self.entry = _two_convs(2 * channels if config.memory else channels, channels)
        self.ups, self.stages = nn.ModuleList(), nn.ModuleList()
        wide = config.decoder == "wide-up" and not config.skips
        for wider, narrower in ((8 * width, 4 * width), (4 * width, 2 * width), (2 * width, width)):
            up_width = wider if wide else narrower
            self.ups.append(_up_conv(wider, up_width))
            self.stages.append(_two_convs(up_width + (narrower if config.skips else 0), narrower))
        self.exit = nn.Sequential(nn.Conv2d(width, config.image_channels, 3, padding=1), nn.Tanh())

    def forward(self, code: Tensor, skips: list[Tensor]) -> Tensor:
        """Turns the code back into a frame in [-1, 1]."""
        x = self.entry(code)
        for up, stage, skip in zip(self.ups, self.stages, reversed(skips), strict=True):
            x = up(x)
            x = stage(torch.cat([x, skip], dim=1) if self.skips else x)
        frames: Tensor = self.exit(x)
        return frames


def _conv(into: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


def _two_convs(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(*_conv(into, out), *_conv(out, out))


def _up_conv(into: int, out: int) -> nn.Sequential:
    up = nn.ConvTranspose2d(into, out, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(up, nn.BatchNorm2d(out), nn.ReLU(inplace=True))
