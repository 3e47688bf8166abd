"""MemoryModule."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import mnad_ext
from mnad_ext import UPDATE_RULES, MemoryModule, reference


def features(B: int = 2, C: int = 16) -> torch.Tensor:
    return torch.randn(B, C, 5, 7)


def test_items_start_as_those_of_the_released_code() -> None:
    items = MemoryModule(512, 10).items
    torch.testing.assert_close(items.norm(dim=1), torch.ones(10))
    assert (items >= 0).all()
    cosines = items @ items.T
    assert cosines[~torch.eye(10, dtype=torch.bool)].mean().item() == pytest.approx(0.75, abs=0.02)


def test_items_are_state_and_not_a_parameter() -> None:
    memory = MemoryModule(16)
    assert list(memory.state_dict()) == ["items"]
    assert list(memory.parameters()) == []
    assert "num_items=10" in repr(memory)


def test_a_generator_repeats_the_items() -> None:
    one, other = (MemoryModule(16, generator=torch.Generator().manual_seed(3)).items for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("rule", UPDATE_RULES)
def test_training_updates_after_the_read(rule: str) -> None:
    memory = MemoryModule(16, 4, update_rule=rule)
    before, x = memory.items.clone(), features().requires_grad_()
    out = memory(x)
    output, weights = reference.memory_read(x, before)
    indices, _ = reference.assign_top2(x, before)
    torch.testing.assert_close(out.output, output)
    torch.testing.assert_close(out.weights, weights)
    assert torch.equal(out.nearest, indices[:, 0])
    torch.testing.assert_close(out.compactness, reference.compactness(x, before, indices[:, 0]))
    torch.testing.assert_close(out.separateness, reference.separateness(x, before, indices))
    torch.testing.assert_close(memory.items, reference.memory_update(x, before, rule))
    (out.output.sum() + out.compactness.sum() + out.separateness.sum()).backward()
    assert x.grad is not None


def test_evaluation_leaves_the_items_until_told_otherwise() -> None:
    memory = MemoryModule(16, 4).eval()
    before, x = memory.items.clone(), features()
    memory(x)
    assert torch.equal(memory.items, before)
    memory.update(x)
    torch.testing.assert_close(memory.items, reference.memory_update(x, before))


def test_one_item_has_no_separateness() -> None:
    memory = MemoryModule(16, 1)
    out = memory(features())
    assert out.separateness is None
    assert out.compactness.shape == (2,)
    assert (out.nearest == 0).all()


def test_items_learned_by_gradient() -> None:
    memory = MemoryModule(16, 4, update_rule=None, grad_through_weights=True)
    before = memory.items.detach().clone()
    memory(features()).output.square().sum().backward()
    assert memory.items.grad is not None
    assert memory.items.grad.abs().sum() > 0
    assert torch.equal(memory.items, before)
    with pytest.raises(RuntimeError, match="learned by gradient"):
        memory.update(features())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_networks_keep_their_items(dtype: torch.dtype) -> None:
    memory = MemoryModule(16, 4)
    before = memory.items.clone()
    network = nn.Sequential(memory).to(dtype)
    assert torch.equal(memory.items, before)
    assert network(features().to(dtype)).output.dtype == dtype
    assert memory.double().items.dtype == torch.float64


def test_a_bad_query_does_not_poison_the_items() -> None:
    memory = MemoryModule(16, 4)
    x = features()
    x[0, :, 2, 2] = torch.nan
    out = memory(x)
    assert memory.items.isfinite().all()
    assert out.compactness.isnan().tolist() == [True, False]


@pytest.mark.compiler
def test_compiles_into_one_graph_and_trains() -> None:
    memory = MemoryModule(16, 4)
    twin = copy.deepcopy(memory)
    x = features().requires_grad_()
    compiled = torch.compile(memory, fullgraph=True)
    out, expected = compiled(x), twin(x)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(memory.items, twin.items)
    (grad,) = torch.autograd.grad(out.output.sum() + out.compactness.sum(), x)
    torch.testing.assert_close(grad, torch.autograd.grad(expected.output.sum() + expected.compactness.sum(), x)[0])


def test_build_info() -> None:
    info = mnad_ext.build_info()
    assert info["version"] == mnad_ext.__version__
    assert info["torch_floor"] == "2.11"
    assert info["instruction_set_in_use"] in info["instruction_sets"].split()
    assert (info["cuda"] is None) == (info["cuda_architectures"] == "")
