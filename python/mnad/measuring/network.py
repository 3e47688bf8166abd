"""A model made ready for scoring, in three steps: encode, read the memory, decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

import mnad_ext
from mnad.artifacts.measurements import LOCAL_ARRAYS
from mnad.data import to_frames
from mnad.measuring.folding import fold_batchnorm
from mnad.measuring.metrics import frame_metrics, psnr
from mnad.measuring.options import Precision, RuntimeName
from mnad.measuring.pooling import LOCAL_POOLINGS
from mnad.measuring.runtimes import CompiledDecoder, CompiledEncoder, check_runtime, compile_model
from mnad.measuring.usual import Usual
from mnad.models import Autoencoder, weights_hash
from mnad.models.autoencoder import Decoder, Encoder
from mnad.runtime.choices import check_choice
from mnad.runtime.devices import warn_of_slow_precision
from mnad.runtime.errors import CheckpointError
from mnad_ext import MemoryOutput

if TYPE_CHECKING:
    from mnad.evaluation.locality import Locality

# The columns of a frame's metrics; how many queries are nearest to each item comes after them.
MSE, UPDATE_ERROR, DISTANCE = 0, 1, 2
LOCAL = {
    name: slice(3 + part * len(LOCAL_POOLINGS), 3 + (part + 1) * len(LOCAL_POOLINGS))
    for part, name in enumerate(LOCAL_ARRAYS)
}
NEAREST = 3 + len(LOCAL_ARRAYS) * len(LOCAL_POOLINGS)


class Network:
    """A copy of a model for scoring: BatchNorm folded, channels-last, in the precision that is asked for.

    Args:
        model: A trained network; it stays as it is.
        precision: Of the encoder and the decoder; the memory computes in float32 all the same.
        usual: What is usual at each place, of this model; without it nothing is compared with that.
        runtime: What executes the encoder and the decoder; another than ``torch`` in 32-true on the CPU alone.
        size: S, height and width of the frames; another runtime than ``torch`` must know it.

    Attributes:
        weights: The hash of the model's weights.

    Raises:
        ConfigError: If precision or runtime are not known, do not fit each other, or the runtime is not installed.
        CheckpointError: If a weight is not finite.
    """

    def __init__(
        self,
        model: Autoencoder,
        precision: Precision = "32-true",
        usual: Usual | None = None,
        *,
        runtime: RuntimeName = "torch",
        size: int | None = None,
    ) -> None:
        check_choice("precision", precision, Precision)
        check_choice("runtime", runtime, RuntimeName)
        for name, weight in model.state_dict().items():
            if not weight.isfinite().all():
                raise CheckpointError(
                    f"the model cannot be scored: its {name} is not finite, so training has diverged; take an earlier "
                    "checkpoint, or train with a lower learning rate"
                )
        self.precision, self.runtime, self.weights = precision, runtime, weights_hash(model.state_dict())
        folded = fold_batchnorm(model)
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.memory, self.config = folded.memory, folded.config
        self.device = next(folded.parameters()).device
        self.encoder: Encoder | CompiledEncoder = folded.encoder
        self.decoder: Decoder | CompiledDecoder = folded.decoder
        self.memory_format = torch.channels_last
        if runtime == "torch":
            for part in (folded.encoder, folded.decoder):
                part.to(self.dtype, memory_format=self.memory_format)  # type: ignore[call-overload]
        else:
            if size is None:
                raise ValueError(f"the runtime {runtime} must know the size of the frames; give size")
            check_runtime(runtime, self.device, precision)
            self.encoder, self.decoder = compile_model(folded, size, runtime)
            self.memory_format = torch.contiguous_format
        self.usual = None if usual is None else usual.to(self.device)
        warn_of_slow_precision(precision, self.device)

    def own_precision(self) -> torch.autocast:
        """Returns a context in which a caller's autocast changes nothing."""
        return torch.autocast(self.device.type, enabled=False)

    def encode(self, pixels: Tensor) -> Block:
        """Encodes windows.

        Args:
            pixels: (B, T, H, W, 1 or 3) uint8; the last frame of each window is the target.
        """
        pixels = pixels.to(self.device, non_blocking=True)
        frames = to_frames(pixels, self.config.image_channels)
        shown = frames[:, : self.config.frames_in].flatten(1, 2)
        with self.own_precision():
            features, skips = self.encoder(shown.to(self.dtype, memory_format=self.memory_format))
        return Block(self, pixels[:, -1], frames[:, -1], features.float(), skips)

    def read(self, features: Tensor, items: Tensor) -> MemoryOutput:
        """Reads items (M, C), or (B, M, C) for each sample its own."""
        assert self.memory is not None
        read: MemoryOutput = functional_call(self.memory, {"items": items}, (features,))
        return read

    def update(self, features: Tensor, items: Tensor) -> Tensor:
        """Returns the items (B, M, C) after an update, each by the queries of its own sample."""
        assert self.memory is not None
        assert self.memory.update_rule is not None
        return mnad_ext.memory_update(features, items, self.memory.update_rule)


@dataclass(frozen=True)
class Block:
    """Windows that were encoded at once; each row can be read and decoded any number of times.

    Attributes:
        network: What encoded them.
        pixels: (B, H, W, 1 or 3) uint8, the targets as they are stored.
        targets: (B, C_img, H, W) in [-1, 1].
        features: (B, C, H/8, W/8) float32.
        skips: The outputs of the encoder's first stages.
    """

    network: Network
    pixels: Tensor
    targets: Tensor
    features: Tensor
    skips: list[Tensor]

    def restore(self, rows: Sequence[int], items: Tensor | None) -> DecodedRows:
        """Reads the memory and decodes.

        Args:
            rows: The R rows of the block that are wanted.
            items: (M, C), or (R, M, C) for each row its own; None without a memory.
        """
        network, chosen = self.network, _index(rows)
        features = self.features[chosen]
        memory = network.read(features, items) if items is not None else None
        code = features if memory is None else memory.output
        with network.own_precision():
            frames = network.decoder(code.to(network.dtype), [skip[chosen] for skip in self.skips]).float()
            return self._measured(chosen, frames, memory, items)

    def _measured(
        self, chosen: slice | list[int], frames: Tensor, memory: MemoryOutput | None, items: Tensor | None
    ) -> DecodedRows:
        """Measures what the model gave, (R, C_img, H, W), beside the targets of the rows."""
        found = frame_metrics(frames, self.targets[chosen], memory, items, self.network.usual)
        unknown = found.mse.new_full((len(frames),), torch.nan)
        columns = [
            found.mse,
            found.update_error,
            unknown if found.distance is None else found.distance,
            found.local,
            unknown[:, None].expand_as(found.local) if found.relative is None else found.relative,
        ]
        if memory is not None:
            columns.append(_usage(memory))
        metrics = torch.cat([column.double().reshape(len(frames), -1) for column in columns], dim=1)
        return DecodedRows(
            metrics=metrics.cpu().numpy(),
            frames=frames,
            pixels=self.pixels[chosen],
            pixel_errors=found.pixel_errors,
            error_map=found.error_map,
            distance_map=found.distance_map,
        )

    def update(self, rows: Sequence[int], items: Tensor) -> Tensor:
        """Returns the items (R, M, C) after an update of each by its row."""
        return self.network.update(self.features[_index(rows)], items)


@dataclass(frozen=True)
class DecodedRows:
    """R rows of a block, read and decoded.

    Attributes:
        metrics: (R, columns) on the host: mse, E_t and D; the local P, and the same relative to the place;
            and how many of the frame's queries are nearest to each item. NaN where there is no memory, or nothing is
            known of the places.
        frames: (R, C_img, H, W) in [-1, 1], what the model gave.
        pixels: (R, H, W, 1 or 3) uint8, the targets as they are stored.
        pixel_errors: (R, H, W), squared errors on the scale [0, 1], mean of the channels.
        error_map: (R, G, G), the means of these over the pixels of each cell.
        distance_map: (R, h, w), squared distances of the queries from their nearest items; None without a memory.
    """

    metrics: NDArray[np.float64]
    frames: Tensor
    pixels: Tensor
    pixel_errors: Tensor
    error_map: Tensor
    distance_map: Tensor | None

    def psnr_of(self, locality: Locality) -> NDArray[np.float64]:
        """Returns P of a part of each frame, (R,) in dB."""
        if locality.pooling == "mean":
            return psnr(self.metrics[:, MSE])
        return np.asarray(self.metrics[:, LOCAL[locality.array]][:, LOCAL_POOLINGS.index(locality.pooling)])

    @property
    def update_errors(self) -> NDArray[np.float64]:
        """(R,), E_t."""
        return self.metrics[:, UPDATE_ERROR]


def finite_rows(metrics: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns for each row of :attr:`DecodedRows.metrics` whether its errors and its distance are finite, (R,)."""
    wanted = [MSE, UPDATE_ERROR, DISTANCE][: 3 if metrics.shape[1] > NEAREST else 2]
    return np.asarray(np.isfinite(metrics[:, wanted]).all(axis=1))


def diverged(frame: str) -> CheckpointError:
    """Returns the error of a model that gives nothing finite for a frame."""
    return CheckpointError(
        f"the model gives nothing finite for {frame}, though its weights are finite: training has diverged; take an "
        "earlier checkpoint, or train with a lower learning rate"
    )


def _index(rows: Sequence[int]) -> slice | list[int]:
    """Returns rows as a slice where they follow one another, which copies nothing."""
    if list(rows) == list(range(rows[0], rows[0] + len(rows))):
        return slice(rows[0], rows[0] + len(rows))
    return list(rows)


def _usage(memory: MemoryOutput) -> Tensor:
    """Counts for each frame how many queries are nearest to each item, (R, M)."""
    nearest = memory.nearest.flatten(1)
    counts = nearest.new_zeros((len(nearest), memory.weights.shape[1]), dtype=torch.float64)
    return counts.scatter_add_(1, nearest, torch.ones_like(nearest, dtype=torch.float64))
