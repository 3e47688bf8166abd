"""Inputs and tolerances that the tests of the operators share."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
LAYOUTS = ["contiguous", "channels-last", "sliced", "offset", "cropped"]

# Absolute tolerance on values of order 1. Where the result is stored in half precision, one unit in the last place.
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-14, torch.bfloat16: 2**-8, torch.float16: 2**-11}


@dataclass(frozen=True)
class Case:
    """A shape: B, C, H, W, M, and whether every sample has items of its own."""

    B: int
    C: int
    H: int
    W: int
    M: int
    per_sample: bool = False

    def __str__(self) -> str:
        items = f"{self.B}x{self.M}" if self.per_sample else f"{self.M}"
        return f"{self.B}x{self.C}x{self.H}x{self.W}-{items}items"


CASES = [
    Case(1, 1, 1, 1, 2),
    Case(2, 7, 3, 5, 2),
    Case(1, 129, 1, 129, 7),
    Case(3, 16, 7, 9, 10, per_sample=True),
    Case(2, 512, 8, 8, 10),
    Case(1, 64, 32, 32, 10),
    Case(2, 40, 13, 24, 10, per_sample=True),
    Case(5, 33, 6, 1, 129),
    Case(1, 24, 16, 24, 70),
    Case(1, 20, 16, 20, 13),
    Case(2, 96, 5, 8, 5, per_sample=True),
    # Tiles of the CPU kernels are 128 positions: one less, a whole tile, one more, and a short third tile.
    Case(2, 12, 1, 127, 3),
    Case(2, 16, 8, 16, 10, per_sample=True),
    Case(3, 17, 3, 43, 12),
    Case(1, 32, 7, 37, 2),
    Case(0, 8, 4, 4, 3),
    Case(2, 8, 0, 4, 3),
]


def computing_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _settle(values: Tensor, case: Case) -> Tensor:
    # With one channel, a query opposite to its item cancels it in an update, and what is left to normalise is rounding.
    return values.abs() if case.C == 1 else values


def make_items(case: Case, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    shape = (case.B, case.M, case.C) if case.per_sample else (case.M, case.C)
    drawn = torch.randn(shape, dtype=computing_dtype(dtype), device=device)
    return F.normalize(_settle(drawn, case), dim=-1)


def make_features(
    case: Case, dtype: torch.dtype = torch.float32, layout: str = "contiguous", device: str = "cpu"
) -> Tensor:
    B, C, H, W = case.B, case.C, case.H, case.W

    def draw(*shape: int) -> Tensor:
        return _settle(torch.randn(shape, dtype=dtype, device=device), case)

    if layout == "sliced":
        return draw(B, 2 * C + 1, H, W)[:, 1 : C + 1]
    if layout == "offset":
        return draw(B * C * H * W + 3)[3:].view(B, C, H, W)
    if layout == "cropped":
        return draw(B, C, H + 2, W + 3)[:, :, 1 : H + 1, 2 : W + 2]
    features = draw(B, C, H, W)
    return features.to(memory_format=torch.channels_last) if layout == "channels-last" else features


def exact_scores(features: Tensor, items: Tensor) -> Tensor:
    """(B, M, H, W), the scores of all items in float64."""
    query = F.normalize(features.double(), dim=1, eps=1e-12)
    return torch.einsum("bchw,bmc->bmhw", query, items.double().expand(features.shape[0], -1, -1))


def without_ties(features: Tensor, items: Tensor, gap: float = 1e-5) -> Tensor:
    """Moves queries whose best two items score alike towards the better one: rounding must not decide between them."""
    scores = exact_scores(features, items)
    (best, second), nearest = scores.topk(2, dim=1).values.unbind(1), scores.argmax(dim=1)
    size = features.double().norm(dim=1, keepdim=True)
    per_sample = items.double().expand(features.shape[0], -1, -1)
    item_of_query = per_sample.take_along_dim(nearest.flatten(1)[..., None], dim=1)
    step = 0.02 * size * item_of_query.transpose(1, 2).reshape(features.shape)
    moved: Tensor = torch.where((best - second < gap)[:, None], features.double() + step, features.double())
    return moved.to(features.dtype)
