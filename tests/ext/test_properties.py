"""What must hold whatever the numbers are: ties, units, extremes, determinism."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
import torch

import mnad_ext
from mnad_ext import UPDATE_RULES, reference
from tests.ext.cases import DEVICES, DTYPES, TOLERANCE, Case, make_features, make_items

CASE = Case(2, 16, 5, 7, 10)
WHOLE = Case(2, 32, 4, 8, 10)  # of whole packs and tiles: the CUDA kernels have a kind of their own for these
both_kinds = pytest.mark.parametrize("case", [CASE, WHOLE], ids=str)
shapes = st.builds(
    Case,
    B=st.integers(1, 3),
    C=st.integers(2, 40),
    H=st.integers(1, 9),
    W=st.integers(1, 9),
    M=st.integers(2, 12),
    per_sample=st.booleans(),
)


@hypothesis.given(shapes, st.sampled_from(UPDATE_RULES))
@hypothesis.settings(deadline=None, max_examples=60)
def test_any_shape(case: Case, rule: str) -> None:
    features, items = make_features(case), make_items(case)
    _, weights = mnad_ext.memory_read(features, items)
    torch.testing.assert_close(weights.sum(1), torch.ones_like(weights[:, 0]))
    indices, scores = mnad_ext.assign_top2(features, items)
    assert (scores[:, 0] >= scores[:, 1]).all()
    assert (weights.gather(1, indices)[:, 0] >= weights.amax(1) - 1e-6).all()
    updated = mnad_ext.memory_update(features, items, rule)
    torch.testing.assert_close(updated.norm(dim=-1), torch.ones_like(updated[..., 0]))
    torch.testing.assert_close(updated, reference.memory_update(features, items, rule), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("M", [2, 5, 10, 11, 64])
@both_kinds
def test_ties_go_to_the_lower_item(case: Case, M: int, device: str) -> None:
    items = make_items(Case(1, case.C, 1, 1, 1), device=device).expand(M, case.C).contiguous()
    indices, scores = mnad_ext.assign_top2(make_features(case, device=device), items)
    assert (indices[:, 0] == 0).all()
    assert (indices[:, 1] == 1).all()
    assert torch.equal(scores[:, 0], scores[:, 1])


def test_ties_in_the_reference_go_to_the_lower_item() -> None:
    # One-hot items, so that no order of summation can break the tie by rounding.
    items = torch.eye(3, 24)[[2, 1, 1, 0, 2]]
    features = torch.zeros(1, 24, 1, 3)
    features[0, [0, 1, 2], 0, [0, 1, 2]] = 5
    for operators in (mnad_ext, reference):
        indices, _ = operators.assign_top2(features, items)
        assert indices[0, :, 0].tolist() == [[3, 1, 0], [0, 2, 4]]
        assert operators.update_statistics(features, items).counts.tolist() == [1, 1, 0, 1, 0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@both_kinds
def test_a_query_that_is_not_finite_stays_alone(case: Case, dtype: torch.dtype, value: float, device: str) -> None:
    features, items = make_features(case, dtype, device=device), make_items(case, dtype, device)
    clean = mnad_ext.memory_step(features, items)
    features[1, 3, 2, 4] = value
    step = mnad_ext.memory_step(features, items)
    bad = torch.zeros(2, case.H, case.W, dtype=torch.bool, device=device)
    bad[1, 2, 4] = True
    assert torch.equal(step.weights.isnan().all(1), bad)
    assert torch.equal(step.output[:, case.C :].isnan().all(1), bad)
    assert torch.equal(step.output.movedim(1, -1)[~bad], clean.output.movedim(1, -1)[~bad])
    assert step.compactness[0] == clean.compactness[0]
    assert step.compactness[1].isnan()
    assert step.separateness[1].isnan()
    assert step.statistics.counts.sum() == 2 * case.H * case.W - 1
    expected = reference.update_statistics(features, items)
    for actual, wanted in zip(step.statistics, expected, strict=True):
        torch.testing.assert_close(actual, wanted, atol=1e-4, rtol=1e-4)
    assert mnad_ext.memory_update(features, items).isfinite().all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-12, 1e25, 3e38])
@both_kinds
def test_finite_features_never_give_nan(case: Case, size: float, device: str) -> None:
    features = make_features(case, device=device).clamp(-1, 1) * size
    features.requires_grad_()
    items = make_items(case, device=device)
    step = mnad_ext.memory_step(features, items)
    expected_output, expected_weights = reference.memory_read(features, items)
    torch.testing.assert_close(step.output, expected_output, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(step.weights, expected_weights)
    (step.output.sum() + step.compactness.sum() + step.separateness.sum()).backward()
    assert features.grad is not None
    assert features.grad.isfinite().all() or size < 1e-29  # 1 / 1e-12 times a gradient is large, not NaN
    assert not features.grad.isnan().any()
    assert mnad_ext.memory_update(features, items).isfinite().all()


@both_kinds
def test_items_need_not_be_unit_vectors(case: Case) -> None:
    features, items = make_features(case), make_items(case) * 300
    actual, expected = mnad_ext.memory_read(features, items), reference.memory_read(features, items)
    torch.testing.assert_close(actual[1], expected[1], atol=1e-4, rtol=1e-4)
    assert actual[0].isfinite().all()


SAME_BITS = {
    "shared items": Case(3, 64, 16, 24, 10),
    "items of each sample": Case(2, 64, 32, 20, 10, per_sample=True),
    "many items": Case(2, 24, 16, 24, 70),
    "streamed": Case(1, 512, 16, 56, 10),  # 11 MB
    "streamed in part": Case(1, 512, 16, 32, 10),  # 6 MB
    "whole tiles and parts": Case(3, 40, 13, 24, 10, per_sample=True),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
@pytest.mark.parametrize("case", SAME_BITS.values(), ids=SAME_BITS.keys())
def test_the_same_input_gives_the_same_bits(case: Case, layout: str, device: str) -> None:
    features = make_features(case, layout=layout, device=device).requires_grad_()
    items = make_items(case, device=device).requires_grad_()

    def run() -> list[torch.Tensor]:
        step = torch.ops.mnad.memory_step(features, items, grad_through_weights=True)
        read = mnad_ext.memory_read(features, items)[0]
        losses = (step[5].sum(), step[6].sum())
        of_step = torch.autograd.grad((step[0].square().sum(), *losses), (features, items))
        return [*of_step, *torch.autograd.grad(read.square().sum(), (features, items)), read, *step]

    first = run()
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3, 5):
            torch.set_num_threads(count)
            assert all(torch.equal(one, other) for one, other in zip(first, run(), strict=True))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
def test_batch_size_changes_no_bit_of_a_query(layout: str, dtype: torch.dtype, device: str) -> None:
    side = 32 if device == "cuda" else 8  # for tiles of every size on a GPU
    case = Case(9, 64, side, side, 10)
    features, items = make_features(case, dtype, layout, device), make_items(case, dtype, device)
    whole = of_queries(features, items)
    parts = [of_queries(part, items) for part in features.split(1)]
    for value, of_parts in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.equal(value, torch.cat(of_parts))
    if device == "cuda" or "MNAD_EMULATED_EXTENSION" in os.environ:  # on a CPU each layout has its own order of sums
        other = torch.contiguous_format if layout == "channels-last" else torch.channels_last
        for value, wanted in zip(of_queries(features.contiguous(memory_format=other), items), whole, strict=True):
            assert torch.equal(value, wanted)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels-last"])
@both_kinds
def test_the_gradient_of_the_output_may_have_another_layout(
    case: Case, layout: str, dtype: torch.dtype, device: str
) -> None:
    features = make_features(case, dtype, layout, device).requires_grad_()
    items = make_items(case, dtype, device).requires_grad_()
    upstream = torch.randn(case.B, 2 * case.C, case.H, case.W, device=device).to(dtype)
    found = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        upstream = upstream.contiguous(memory_format=memory_format)
        step = mnad_ext.memory_step(features, items, grad_through_weights=True)
        of_read = torch.autograd.grad(mnad_ext.memory_read(features, items)[0], [features], upstream)
        found.append([*of_read, *torch.autograd.grad(step.output, [features, items], upstream)])
    for value, wanted in zip(*found, strict=True):
        torch.testing.assert_close(value, wanted, atol=4 * TOLERANCE[dtype], rtol=4 * TOLERANCE[dtype])


def of_queries(features: torch.Tensor, items: torch.Tensor) -> list[torch.Tensor]:
    """What a step gives for each query or sample, with the gradient of the features."""
    leaf = features.detach().requires_grad_()
    step = mnad_ext.memory_step(leaf, items)
    loss = step.output.square().sum() + step.compactness.sum() + step.separateness.sum()
    (grad,) = torch.autograd.grad(loss, [leaf])
    found = [step.output, step.weights, step.indices, step.compactness, step.separateness]
    return [value.detach() for value in (*found, grad)]


def test_statistics_of_parts_add_up_to_the_whole() -> None:
    case = Case(6, 16, 5, 7, 10)
    features, items = make_features(case, torch.float64), make_items(case, torch.float64)
    whole = mnad_ext.update_statistics(features, items)
    parts = [mnad_ext.update_statistics(part, items) for part in features.split([1, 3, 2])]
    for actual, expected in zip(parts[0].merge(parts[1]).merge(parts[2]), whole, strict=True):
        torch.testing.assert_close(actual, expected)
    for rule in UPDATE_RULES:
        one_by_one = mnad_ext.update_items(items, whole, rule)
        torch.testing.assert_close(one_by_one, mnad_ext.memory_update(features, items, rule))


def test_more_than_two_billion_elements() -> None:
    if torch.cuda.is_available() or _free_memory() < 16 << 30:
        pytest.skip("needs 16 GB of free memory")
    C, H, W = 64, 2**13 + 1, 2**12
    features = torch.zeros(1, C, H, W, dtype=torch.bfloat16)
    assert features.numel() > 2**31
    items = torch.eye(3, C)
    for c, h, w in [(0, 0, 0), (1, H // 2, 5), (2, H - 1, W - 1)]:
        features[0, c, h, w] = 7
    features[0, C - 1, H - 1, W - 1] = -7
    indices, scores = mnad_ext.assign_top2(features, items)
    assert scores[0, 0].nonzero().tolist() == [[0, 0], [H // 2, 5], [H - 1, W - 1]]
    assert indices[0, 0, H // 2, 5] == 1
    assert indices[0, 0, H - 1, W - 1] == 2
    assert scores[0, 0, H - 1, W - 1] == pytest.approx(0.5**0.5)


def _free_memory() -> int:
    with Path("/proc/meminfo").open() as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
