from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from mnad.models.memory_health import count_nearest, memory_health


def test_figures_against_counting_by_hand() -> None:
    random = np.random.default_rng(0)
    nearest = random.choice(5, size=(30, 4, 3), p=[0.5, 0.3, 0.2, 0, 0])
    items = torch.randn(5, 7)
    counts = sum(count_nearest(torch.from_numpy(part), 5) for part in np.split(nearest, 3))
    health = memory_health(counts, items)  # type: ignore[arg-type]

    shares = np.array([(nearest == item).mean() for item in range(5)])
    assert health.histogram == pytest.approx(shares)
    assert health.items_in_use == 3
    used = shares[shares > 0]
    assert health.entropy_bits == pytest.approx(-(used * np.log2(used)).sum())
    assert health.perplexity == pytest.approx(math.exp(-(used * np.log(used)).sum()))
    by_position = nearest.reshape(30, 12)
    usual = [np.bincount(column).max() for column in by_position.T]
    assert health.positional_share == pytest.approx(sum(usual) / by_position.size)
    entropies = []
    for column in by_position.T:
        frequencies = np.bincount(column) / len(column)
        frequencies = frequencies[frequencies > 0]
        entropies.append(-(frequencies * np.log2(frequencies)).sum())
    assert health.entropy_at_position_bits == pytest.approx(np.mean(entropies))
    unit = torch.nn.functional.normalize(items, dim=1).numpy()
    pairs = [unit[i] @ unit[j] for i in range(5) for j in range(5) if i != j]
    assert health.mean_cosine == pytest.approx(np.mean(pairs), abs=1e-6)
    assert health.warnings() == ["items in no use: 3, 4 of 5"]


def test_a_memory_that_has_learned_position_alone() -> None:
    nearest = torch.arange(12).reshape(1, 4, 3).expand(7, 4, 3) % 3
    health = memory_health(count_nearest(nearest, 3), torch.eye(3))
    assert health.positional_share == 1
    assert health.entropy_at_position_bits == 0
    assert health.perplexity == pytest.approx(3)
    (warning,) = health.warnings()
    assert "function of position alone" in warning


def test_a_collapsed_memory_and_one_of_a_single_item() -> None:
    collapsed = memory_health(count_nearest(torch.zeros(2, 4, 4, dtype=torch.int64), 10), torch.ones(10, 3))
    assert (collapsed.items_in_use, collapsed.perplexity, collapsed.entropy_bits) == (1, 1, 0)
    assert collapsed.mean_cosine == pytest.approx(1)
    assert len(collapsed.warnings()) == 1
    single = memory_health(count_nearest(torch.zeros(2, 4, 4, dtype=torch.int64), 1), torch.ones(1, 3))
    assert single.mean_cosine == 1
    assert single.warnings() == []
    empty = memory_health(torch.zeros(16, 4), torch.eye(4))
    assert (empty.items_in_use, empty.positional_share) == (0, 0)
