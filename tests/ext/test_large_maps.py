"""Large maps on the CPU: written past the caches they hold the same values, and several chunks of a sample add up.

CUDA kernels divide a large batch otherwise than a small one and may round otherwise: of them this is not asked.
"""

from __future__ import annotations

import pytest
import torch

import mnad_ext
from mnad_ext import UpdateStatistics, reference
from tests.ext.cases import DTYPES, Case, exact_scores, make_features, make_items, without_ties


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


# 9 or 10 chunks a sample, of which the last one is short.
SEVERAL_CHUNKS = [Case(3, 96, 33, 65, 10), Case(2, 96, 37, 64, 70), Case(2, 96, 37, 64, 2, per_sample=True)]


@pytest.mark.parametrize("layout", ["contiguous", "channels-last", "cropped"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", SEVERAL_CHUNKS, ids=str)
def test_indices_and_statistics_of_several_chunks(case: Case, dtype: torch.dtype, layout: str) -> None:
    features, items = make_features(case, dtype, layout), make_items(case, dtype)
    features.copy_(without_ties(features, items))
    features[0, 1, 2, 3] = torch.nan
    step = mnad_ext.memory_step(features, items)
    exact = (features.double(), items.double())
    chosen = exact_scores(*exact).gather(1, step.indices)
    torch.testing.assert_close(chosen, reference.assign_top2(*exact)[1], atol=1e-6, rtol=0, equal_nan=True)
    tolerance = 1e-12 if dtype == torch.float64 else 5e-6
    expected = reference.update_statistics(*exact)
    for name, value, wanted in zip(UpdateStatistics._fields, step.statistics, expected, strict=True):
        if name == "counts":
            assert torch.equal(value, wanted)
        else:
            torch.testing.assert_close(value.double(), wanted, atol=tolerance, rtol=tolerance)
