"""The operators against the reference, over dtypes, layouts, shapes and devices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import mnad_ext
from mnad_ext import UPDATE_RULES, UpdateStatistics, reference
from tests.ext.cases import (
    CASES,
    DEVICES,
    DTYPES,
    LAYOUTS,
    TOLERANCE,
    Case,
    computing_dtype,
    exact_scores,
    make_features,
    make_items,
)

pytestmark = [
    pytest.mark.parametrize("device", DEVICES),
    pytest.mark.parametrize("layout", LAYOUTS),
    pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch.")),
    pytest.mark.parametrize("case", CASES, ids=str),
]


def close(actual: Tensor, expected: Tensor, *, scale: float = 1.0) -> None:
    tolerance = TOLERANCE[actual.dtype] * scale
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


def test_memory_read(case: Case, dtype: torch.dtype, layout: str, device: str) -> None:
    features, items = make_features(case, dtype, layout, device), make_items(case, dtype, device)
    output, weights = mnad_ext.memory_read(features, items)
    expected_output, expected_weights = reference.memory_read(features, items)
    close(output, expected_output)
    close(weights, expected_weights)
    if layout == "channels-last" and case.C > 1 and output.numel() > 0:
        assert output.is_contiguous(memory_format=torch.channels_last)
    else:
        assert output.is_contiguous()


def test_assign_top2(case: Case, dtype: torch.dtype, layout: str, device: str) -> None:
    features, items = make_features(case, dtype, layout, device), make_items(case, dtype, device)
    indices, scores = mnad_ext.assign_top2(features, items)
    close(scores, reference.assign_top2(features, items)[1])
    _check_indices(indices, features, items)


def _check_indices(indices: Tensor, features: Tensor, items: Tensor) -> None:
    """Where rounding decides between two items their scores agree; elsewhere the indices are the reference's own."""
    _, expected_scores = reference.assign_top2(features, items)
    chosen = exact_scores(features, items).gather(1, indices)
    finite = expected_scores.isfinite()
    close(chosen.to(expected_scores.dtype)[finite], expected_scores[finite])
    assert (indices[:, 0] != indices[:, 1]).all()


def test_update_statistics(case: Case, dtype: torch.dtype, layout: str, device: str) -> None:
    features, items = make_features(case, dtype, layout, device), make_items(case, dtype, device)
    _check_statistics(mnad_ext.update_statistics(features, items), features, items)


def _check_statistics(actual: UpdateStatistics, features: Tensor, items: Tensor) -> None:
    expected = reference.update_statistics(features, items)
    queries = features[:, 0].numel()
    for name, value, wanted in zip(UpdateStatistics._fields, actual, expected, strict=True):
        assert value.dtype == (torch.int64 if name == "counts" else computing_dtype(features.dtype))
        if name == "counts":
            assert torch.equal(value, wanted)
        else:
            close(value, wanted, scale=1 if name.startswith("peak") else 1 + queries / 32)


@pytest.mark.parametrize("rule", UPDATE_RULES)
def test_memory_update(case: Case, dtype: torch.dtype, layout: str, device: str, rule: str) -> None:
    features, items = make_features(case, dtype, layout, device), make_items(case, dtype, device)
    updated = mnad_ext.memory_update(features, items, rule)
    close(updated, reference.memory_update(features, items, rule), scale=2)
    unused = mnad_ext.update_statistics(features, items).counts == 0
    assert torch.equal(updated[unused], items[unused])


def test_indices_and_statistics_of_a_memory_step(case: Case, dtype: torch.dtype, layout: str, device: str) -> None:
    features, items = make_features(case, dtype, layout, device), make_items(case, dtype, device)
    _check_step(features, items)
    # At the first position, and on both sides of the border between two tiles of the CPU kernels.
    for position, value in ((0, torch.nan), (127, torch.inf), (128, -torch.inf)):
        if position < case.H * case.W:
            features[:, position % case.C, position // case.W, position % case.W] = value
    _check_step(features, items)


def _check_step(features: Tensor, items: Tensor) -> None:
    step = mnad_ext.memory_step(features, items)
    _check_indices(step.indices, features, items)
    _check_statistics(step.statistics, features, items)
    recorded = mnad_ext.memory_step(features.detach().requires_grad_(), items)
    for one, other in zip((step.indices, *step.statistics), (recorded.indices, *recorded.statistics), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("through", [False, True], ids=["cut", "through-weights"])
def test_memory_step_and_its_gradients(case: Case, dtype: torch.dtype, layout: str, device: str, through: bool) -> None:
    if case.B * case.H * case.W == 0:
        pytest.skip("the mean loss of no queries is undefined")
    features, items = make_features(case, dtype, layout, device), make_items(case, dtype, device)
    results = []
    upstream = None
    for step in (_step, _reference_step):
        x, p = features.detach().requires_grad_(), items.detach().requires_grad_()
        outputs = step(x, p, grad_through_weights=through)
        upstream = upstream or [torch.randn_like(value) for value in outputs]
        results.append((outputs, torch.autograd.grad(outputs, [x, p], upstream)))
    (outputs, grads), (expected_outputs, expected_grads) = results
    for actual, expected in zip(outputs, expected_outputs, strict=True):
        close(actual, expected)
    for actual, expected in zip(grads, expected_grads, strict=True):
        assert _relative_error(actual, expected) < 4 * TOLERANCE[dtype]


def _step(x: Tensor, p: Tensor, *, grad_through_weights: bool) -> list[Tensor]:
    step = mnad_ext.memory_step(x, p, grad_through_weights=grad_through_weights)
    return [step.output, step.weights, step.compactness, step.separateness]


def _reference_step(x: Tensor, p: Tensor, *, grad_through_weights: bool) -> list[Tensor]:
    indices, _ = mnad_ext.assign_top2(x, p)
    read = reference.memory_read(x, p, grad_through_weights=grad_through_weights)
    return [*read, reference.compactness(x, p, indices[:, 0]), reference.separateness(x, p, indices)]


def _relative_error(actual: Tensor, expected: Tensor) -> float:
    difference = (actual.double() - expected.double()).norm()
    # Not below 1: a unit vector of one channel cannot turn, so its gradient is 0 and what is left is rounding.
    return float(difference / expected.double().norm().clamp_min(1))
