"""The reference against the independent float64 version."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mnad_ext import UPDATE_RULES, reference
from mnad_ext._vector_math import settle
from tests.ext import independent
from tests.ext.cases import CASES, Case, make_features, make_items

SHARED = [case for case in CASES if case.B * case.H * case.W > 0 and not case.per_sample]


@pytest.fixture(params=SHARED, ids=str)
def pair(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    case: Case = request.param
    return make_features(case, torch.float64), make_items(case, torch.float64)


def rows(output: Tensor) -> np.ndarray:
    return output.movedim(1, -1).flatten(0, 2).numpy()


def test_read(pair: tuple[Tensor, Tensor]) -> None:
    output, weights = reference.memory_read(*pair)
    expected_output, expected_weights = independent.read(*(tensor.numpy() for tensor in pair))
    np.testing.assert_allclose(rows(output), expected_output, atol=1e-14)
    np.testing.assert_allclose(rows(weights), expected_weights, atol=1e-14)


def test_top2(pair: tuple[Tensor, Tensor]) -> None:
    indices, scores = reference.assign_top2(*pair)
    expected = independent.top2(*(tensor.numpy() for tensor in pair))
    np.testing.assert_array_equal(rows(indices), expected)
    all_scores = independent.queries(pair[0].numpy()) @ pair[1].numpy().T
    np.testing.assert_allclose(rows(scores), np.take_along_axis(all_scores, expected, 1), atol=1e-14)


@pytest.mark.parametrize("rule", UPDATE_RULES)
def test_update(pair: tuple[Tensor, Tensor], rule: str) -> None:
    expected = independent.update(*(tensor.numpy() for tensor in pair), rule)
    np.testing.assert_allclose(reference.memory_update(*pair, rule).numpy(), expected, atol=1e-13)


def test_losses(pair: tuple[Tensor, Tensor]) -> None:
    indices, _ = reference.assign_top2(*pair)
    features, items = (tensor.numpy() for tensor in pair)
    compactness = reference.compactness(*pair, indices[:, 0])
    separateness = reference.separateness(*pair, indices)
    np.testing.assert_allclose(compactness.mean().item(), independent.compactness(features, items), rtol=1e-12)
    np.testing.assert_allclose(separateness.mean().item(), independent.separateness(features, items), rtol=1e-12)


def test_one_memory_per_sample_equals_each_sample_alone() -> None:
    case = Case(3, 16, 7, 9, 10, per_sample=True)
    features, items = make_features(case, torch.float64), make_items(case, torch.float64)
    together = reference.memory_read(features, items)
    updated = reference.memory_update(features, items)
    for b in range(case.B):
        alone = reference.memory_read(features[b : b + 1], items[b])
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[b : b + 1], part)
        torch.testing.assert_close(updated[b], reference.memory_update(features[b : b + 1], items[b]))


def test_the_three_rules_differ() -> None:
    degrees = torch.tensor([0.0, 10.0, 2.0, 90.0], dtype=torch.float64).deg2rad()
    vectors = torch.stack([degrees.cos(), degrees.sin()], dim=1)
    items, features = vectors[:2], vectors[2:].view(2, 2, 1, 1)
    # The query at 2 degrees is the best for both items but belongs to the first: the second item's maxima differ.
    new = [reference.memory_update(features, items, rule)[1] for rule in UPDATE_RULES]
    assert not torch.allclose(new[0], new[1])
    assert not torch.allclose(new[1], new[2])
    assert not torch.allclose(new[0], new[2])


def test_functions_are_settled_on_the_cpu_whatever_the_default_device() -> None:
    seen: list[tuple[str, torch.dtype]] = []

    def function(numbers: Tensor) -> Tensor:
        seen.append((numbers.device.type, numbers.dtype))
        return numbers

    with torch.device("meta"):
        settle(function)
    assert seen == [("cpu", torch.float32), ("cpu", torch.float64)]
