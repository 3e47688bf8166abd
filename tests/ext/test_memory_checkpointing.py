"""MemoryModule where activation checkpointing recomputes its forward pass."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

import mnad_ext.memory
from mnad_ext import MemoryModule, reference, update_statistics
from mnad_ext.ops import gather_, keep_items
from mnad_ext.statistics import zero_statistics
from tests.ext.training import Pass, features, loss_of, trained


def saving(*prefixes: str) -> dict[str, Any]:
    """Selective checkpointing that saves the operators of these libraries."""

    def policy(ctx: object, operator: object, *args: object, **options: object) -> CheckpointPolicy:
        saved = str(operator).startswith(prefixes)
        return CheckpointPolicy.MUST_SAVE if saved else CheckpointPolicy.PREFER_RECOMPUTE

    return {"use_reentrant": False, "context_fn": partial(create_selective_checkpoint_contexts, policy)}


KINDS: dict[str, dict[str, Any]] = {
    "non-reentrant": {"use_reentrant": False},
    "reentrant": {"use_reentrant": True},
    "saving-aten": saving("aten"),
    "saving-mnad": saving("mnad"),
    "saving-all": saving("aten", "mnad"),
}


def network(memory: MemoryModule, x: Tensor) -> Tensor:
    """The memory, and operators after it that the update of the items uses, too."""
    return loss_of(memory, x) + ((x + 1) * x.sigmoid()).square().sum()


def checkpointed(one_pass: Pass, kind: str) -> Pass:
    def run(memory: MemoryModule, x: Tensor) -> Tensor:
        loss: Tensor = checkpoint(one_pass, memory, x, **KINDS[kind])
        return loss

    return run


WHERE: dict[str, Callable[[str], Pass]] = {
    "eager": lambda kind: checkpointed(network, kind),
    "around-compiled": lambda kind: checkpointed(torch.compile(network, fullgraph=True), kind),
    "in-compiled": lambda kind: torch.compile(checkpointed(network, kind)),
}


COMPILED = ["around-compiled", "in-compiled"]
PLACES = ["eager", *(pytest.param(where, marks=pytest.mark.compiler) for where in COMPILED)]


@pytest.fixture(autouse=True)
def _compiled_anew() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("where", "recompute"),
    [
        ("eager", False),
        *(pytest.param(*both, marks=pytest.mark.compiler) for both in itertools.product(COMPILED, [False, True])),
    ],
)
def test_a_recomputed_pass_counts_once(where: str, recompute: bool, kind: str) -> None:
    """Also where the compiler would rather recompute things than save them."""
    memory = MemoryModule(16, 4, update_on="call")
    with torch._functorch.config.patch(aggressive_recomputation=recompute):
        actual = trained(copy.deepcopy(memory), WHERE[where](kind))
    torch.testing.assert_close(actual, trained(memory, network))


@pytest.mark.parametrize("kind", KINDS)
def test_one_item_counts_once(kind: str) -> None:
    memory = MemoryModule(16, 1, update_on="call")
    actual = trained(copy.deepcopy(memory), WHERE["eager"](kind))
    torch.testing.assert_close(actual, trained(memory, network))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", PLACES)
def test_a_pass_whose_update_has_moved_the_items_is_refused(where: str, kind: str) -> None:
    memory, x = MemoryModule(16, 4), features().requires_grad_()
    before = memory.items.clone()
    with pytest.raises(RuntimeError, match='use MemoryModule.*update_on="call"'):
        WHERE[where](kind)(memory, x).backward()
    if not torch.equal(memory.items, before):
        torch.testing.assert_close(memory.items, reference.memory_update(2 * x.detach(), before))


def test_a_pass_that_records_no_gradient_is_refused_as_well() -> None:
    def frozen(memory: MemoryModule, x: Tensor) -> Tensor:
        with torch.no_grad():
            read = memory(x).output.mean()
        return (x * read).sin().sum()

    loss = checkpointed(frozen, "non-reentrant")(MemoryModule(16, 4), features().requires_grad_())
    with pytest.raises(RuntimeError, match='use MemoryModule.*update_on="call"'):
        loss.backward()


def test_ranks_merge_a_pass_once(monkeypatch: pytest.MonkeyPatch) -> None:
    merged = []
    monkeypatch.setattr(mnad_ext.memory, "merge_over_ranks", lambda statistics: merged.append(1) or statistics)
    checkpointed(network, "reentrant")(MemoryModule(16, 4, update_on="call"), features().requires_grad_()).backward()
    assert len(merged) == 1


@pytest.mark.parametrize("num_items", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("move", ["apply_update", "update"])
def test_items_that_moved_before_the_backward_pass_are_refused(move: str, kind: str, num_items: int) -> None:
    memory = MemoryModule(16, num_items, update_on="call")
    for _ in range(2):
        loss = checkpointed(network, kind)(memory, features().requires_grad_())
        memory.apply_update() if move == "apply_update" else memory.update(features())
        with pytest.raises(RuntimeError, match="items of the memory have moved.*after backward"):
            loss.backward()


@pytest.mark.parametrize("rule", ["max-all", None])
def test_items_that_moved_between_passes_or_in_evaluation_are_refused_as_well(rule: Any) -> None:
    memory = MemoryModule(16, 4, update_rule=rule, update_on="call")
    run = checkpointed(network, "non-reentrant")
    first = run(memory, features().requires_grad_())
    with torch.no_grad():
        memory.items.mul_(0.5)
    second = run(memory.eval(), features().requires_grad_())
    second.backward(retain_graph=True)
    with torch.no_grad():
        memory.items.mul_(0.5)
    for loss in (first, second):
        with pytest.raises(RuntimeError, match="items of the memory have moved"):
            loss.backward()


def test_a_hook_that_saves_copies_keeps_the_items() -> None:
    memory, x = MemoryModule(16, 4, update_on="call"), features().requires_grad_()
    (expected,) = torch.autograd.grad(loss_of(memory, x), x)
    with torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda saved: saved):
        loss = loss_of(memory, x)
    memory.apply_update()
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], expected)


def test_a_first_pass_in_a_hook_is_taken_for_a_recomputation() -> None:
    memory, x = MemoryModule(16, 4, update_on="call"), features()
    before, leaf = memory.items.clone(), features().requires_grad_()
    leaf.register_hook(lambda grad: memory(x).output.new_zeros(grad.shape))
    leaf.sum().backward()
    memory.apply_update()
    assert torch.equal(memory.items, before)


def test_keep_items_is_an_operator() -> None:
    items = torch.rand(4, 16)
    torch.library.opcheck(torch.ops.mnad.keep_items.default, (items,))
    assert torch.equal(keep_items(items), items)
    assert not keep_items(items.requires_grad_()).requires_grad


@pytest.mark.parametrize("shape", [(4, 16), (2, 4, 16)])
def test_gather_is_an_operator(shape: tuple[int, ...]) -> None:
    items = torch.rand(shape)
    one, other = (update_statistics(features(), items) for _ in range(2))
    torch.library.opcheck(torch.ops.mnad.gather_.default, (list(one), list(other)))
    gathered = zero_statistics(items)
    for statistics in (one, other):
        gather_(gathered, statistics)
    torch.testing.assert_close(gathered, one.merge(other))
