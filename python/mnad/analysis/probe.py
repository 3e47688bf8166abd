"""The skip probe: what becomes of a frame when skips, or what the memory gives, are replaced by a filler."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mnad.models import Autoencoder
from mnad.runtime.errors import ConfigError

Filler = Literal["zeros", "ones", "random"]
FILLERS: tuple[Filler, ...] = get_args(Filler)
STAGES = 3


@dataclass(frozen=True)
class Probe:
    """What the decoder is given in place of the true tensors.

    Attributes:
        skips: Which of the skips are replaced: 1, the finest, to 3, the coarsest.
        readout: Whether what the queries read from the memory is replaced.
        filler: By what: zeros, ones, or numbers from [0, 1) that are drawn once and are the same for every frame.
        seed: Of the random numbers.
    """

    skips: tuple[int, ...] = ()
    readout: bool = False
    filler: Filler = "zeros"
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if unknown := set(self.skips) - set(range(1, STAGES + 1)):
            raise ConfigError(f"skips must be among 1, 2 and 3, got {', '.join(map(str, sorted(unknown)))}")
        if self.filler not in FILLERS:
            raise ConfigError(f"filler must be one of {', '.join(FILLERS)}, got {self.filler!r}")

    @property
    def key(self) -> str:
        """A name for files."""
        return f"{'+'.join(map(str, self.skips)) or 'none'}{'+readout' * self.readout}-{self.filler}-{self.seed}"

    def __str__(self) -> str:
        """Names what is replaced, for people."""
        skips = f"skip{'s' * (len(self.skips) > 1)} {', '.join(map(str, self.skips))}" if self.skips else ""
        return " + ".join(part for part in (skips, "readout" * self.readout) if part) or "nothing"


def probed(model: Autoencoder, probe: Probe) -> Autoencoder:
    """Returns a copy of a model whose decoder is fed as a probe says; losses and items are as they were.

    Args:
        model: A trained network.
        probe: What is replaced, and by what.

    Raises:
        ConfigError: If the model has no skips or no memory that could be replaced.

    Example:
        >>> import torch
        >>> from mnad.models import ModelConfig
        >>> model = Autoencoder(ModelConfig(width=4)).eval()
        >>> frames = torch.rand(1, 12, 32, 32)
        >>> blind = probed(model, Probe(skips=(1, 2, 3), readout=True))
        >>> torch.equal(blind(frames).frames, model(frames).frames)
        False
    """
    if probe.skips and not model.config.skips:
        raise ConfigError("the model has no skips that could be replaced")
    if probe.readout and model.memory is None:
        raise ConfigError("the model has no memory whose readout could be replaced")
    changed = copy.deepcopy(model)
    changed.decoder = _ProbedDecoder(changed.decoder, probe, model.config.channels)  # type: ignore[assignment]
    return changed


class _ProbedDecoder(nn.Module):
    def __init__(self, decoder: nn.Module, probe: Probe, channels: int) -> None:
        super().__init__()
        self.decoder, self.probe, self.channels = decoder, probe, channels

    def forward(self, code: Tensor, skips: list[Tensor]) -> Tensor:
        """Decodes with what the probe puts in the place of the true tensors."""
        skips = [self._fill(skip, n) if n in self.probe.skips else skip for n, skip in enumerate(skips, start=1)]
        if self.probe.readout:
            query, readout = code[:, : self.channels], code[:, self.channels :]
            code = torch.cat([query, self._fill(readout, 0)], dim=1)
        frames: Tensor = self.decoder(code, skips)
        return frames

    def _fill(self, tensor: Tensor, number: int) -> Tensor:
        if self.probe.filler == "zeros":
            return torch.zeros_like(tensor)
        if self.probe.filler == "ones":
            return torch.ones_like(tensor)
        generator = torch.Generator().manual_seed(self.probe.seed * (STAGES + 1) + number)
        drawn = torch.rand(tensor.shape[1:], generator=generator).to(tensor)
        return drawn.expand_as(tensor)
