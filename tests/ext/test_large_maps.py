"""The CPU kernels write large maps, or parts of them, past the caches, and what they write is the same.

CUDA kernels divide a large batch otherwise than a small one and may round otherwise: of them this is not asked.
"""

from __future__ import annotations

import pytest
import torch

import mnad_ext
from tests.ext.cases import DTYPES, Case, make_features, make_items


@pytest.mark.parametrize("M", [3, 10, 70])
@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_samples_of_a_large_batch_equal_those_of_a_small_one(dtype: torch.dtype, layout: str, M: int) -> None:
    # A step of the batch moves 36 MiB and more, which are written past the caches; one of 4 samples 6 to 24 MiB, which
    # may be so in part; one of a sample in half precision 1.5 MiB, which are held.
    case = Case(24, 64, 32, 64, M)
    features, items = make_features(case, dtype, layout), make_items(case, dtype)
    step, grad = _step_and_gradient(features, items)
    for samples in (slice(0, 1), slice(case.B - 1, case.B), slice(0, 4)):
        part, part_grad = _step_and_gradient(features[samples], items)
        assert torch.equal(step.output[samples], part.output)
        assert torch.equal(grad[samples], part_grad)


def _step_and_gradient(features: torch.Tensor, items: torch.Tensor) -> tuple[mnad_ext.MemoryStep, torch.Tensor]:
    features = features.detach().requires_grad_()
    step = mnad_ext.memory_step(features, items)
    (grad,) = torch.autograd.grad(step.output.float().square().sum() + step.separateness.sum(), features)
    return step, grad
