"""A model's encoder and decoder as graphs, with the memory between them left to PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mnad.graphs.recording import EXAMPLES, Recorded, record
from mnad.models import Autoencoder
from mnad.models.autoencoder import Decoder, Encoder

SKIPS = ("fine", "middle", "coarse")


class EncoderStep(nn.Module):
    """The encoder, whose outputs are not nested."""

    def __init__(self, encoder: Encoder, *, skips: bool) -> None:
        super().__init__()
        self.encoder, self.skips = encoder, skips

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Returns the features and, if the decoder joins them, the outputs of the first stages, finest first."""
        features, skips = self.encoder(frames)
        return (features, *skips) if self.skips else (features,)


class DecoderStep(nn.Module):
    """The decoder, whose inputs are not nested."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self, code: Tensor, fine: Tensor | None = None, middle: Tensor | None = None, coarse: Tensor | None = None
    ) -> Tensor:
        """Returns the frames; the skips are given where the decoder joins them."""
        frames: Tensor = self.decoder(code, [fine, middle, coarse])
        return frames


def record_encoder(model: Autoencoder, size: int) -> Recorded:
    """Records a model's encoder for frames of a size, as :class:`EncoderStep`."""
    config = model.config
    frames = torch.zeros(EXAMPLES, config.frames_in * config.image_channels, size, size)
    step = EncoderStep(model.encoder, skips=config.skips)
    return record(step, {"frames": frames}, ("features", *(SKIPS if config.skips else ())))


def record_decoder(model: Autoencoder, size: int) -> Recorded:
    """Records a model's decoder for frames of a size, as :class:`DecoderStep`."""
    config = model.config
    code = torch.zeros(EXAMPLES, config.channels * (2 if config.memory else 1), size // 8, size // 8)
    inputs = {"code": code}
    if config.skips:
        inputs |= {
            name: torch.zeros(EXAMPLES, config.width << stage, size >> stage, size >> stage)
            for stage, name in enumerate(SKIPS)
        }
    return record(DecoderStep(model.decoder), inputs, ("frames",))
