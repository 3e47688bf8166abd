"""Gradients, opcheck, torch.compile, torch.export, autocast, vmap, the fallback: what torch expects of an operator."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

import mnad_ext
from mnad_ext import reference
from tests.ext.cases import DEVICES, DTYPES, Case, computing_dtype, make_features, make_items

SMALL = [Case(2, 5, 2, 3, 4), Case(2, 5, 2, 3, 4, per_sample=True)]
OPERATORS = ["memory_read", "assign_top2", "memory_step", "update_statistics", "memory_update"]


@pytest.mark.parametrize("device", ["cpu", "meta", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_what_has_no_gradient_asks_for_none(device: str) -> None:
    features = make_features(SMALL[0], device=device).requires_grad_()
    items = make_items(SMALL[0], device=device).requires_grad_()
    statistics = mnad_ext.update_statistics(features, items)
    results = [*mnad_ext.assign_top2(features, items), mnad_ext.memory_update(features, items), *statistics]
    results += [mnad_ext.update_items(items, statistics), *mnad_ext.memory_step(features, items).statistics]
    assert not any(result.requires_grad for result in results)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("through", [False, True], ids=["cut", "through-weights"])
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_gradcheck_of_a_read(case: Case, through: bool, device: str) -> None:
    features, items = (
        make_features(case, torch.float64, device=device),
        make_items(case, torch.float64, device),
    )

    def read(features: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        return mnad_ext.memory_read(features, items, grad_through_weights=through)

    if through:
        assert torch.autograd.gradcheck(read, (features.requires_grad_(), items.requires_grad_()))
        return
    # Cut on purpose, the gradient is that of the same read with the mixing weights held fixed.
    _, fixed = read(features, items)

    def read_with_fixed_weights(features: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        axes = "bmc" if items.ndim == 3 else "mc"
        query = torch.nn.functional.normalize(features, dim=1)
        weights = torch.einsum(f"bchw,{axes}->bmhw", query, items).softmax(1)
        return torch.cat([query, torch.einsum(f"bmhw,{axes}->bchw", fixed, items)], dim=1), weights

    leaves = (features.requires_grad_(), items.requires_grad_())
    upstream = [torch.randn_like(result) for result in read(*leaves)]
    actual = torch.autograd.grad(read(*leaves), leaves, upstream)
    assert torch.autograd.gradcheck(read_with_fixed_weights, leaves)
    expected = torch.autograd.grad(read_with_fixed_weights(*leaves), leaves, upstream)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_gradcheck_of_the_losses(case: Case, device: str) -> None:
    features, items = (
        make_features(case, torch.float64, device=device),
        make_items(case, torch.float64, device),
    )

    def losses(features: Tensor) -> tuple[Tensor, Tensor]:
        step = mnad_ext.memory_step(features, items)
        return step.compactness, step.separateness

    assert torch.autograd.gradcheck(losses, (features.requires_grad_(),))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", ["contiguous", "channels-last", "sliced"])
@pytest.mark.parametrize("case", SMALL, ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_opcheck(name: str, case: Case, layout: str, device: str) -> None:
    operator = getattr(torch.ops.mnad, name).default
    features = make_features(case, layout=layout, device=device).requires_grad_()
    torch.library.opcheck(operator, (features, make_items(case, device=device).requires_grad_()))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_opcheck_of_the_parts(case: Case, device: str) -> None:
    features, items = make_features(case, device=device), make_items(case, device=device)
    step = mnad_ext.memory_step(features, items)
    torch.library.opcheck(torch.ops.mnad.update_items.default, (items, *step.statistics))
    grads = [torch.randn_like(value) for value in (step.output, step.weights, step.compactness, step.separateness)]
    wanted = {"grad_through_weights": True, "wants_features": True, "wants_items": True}
    weights, *of_losses = torch.ops.mnad.memory_step(features, items)[1:5]
    arguments = (*grads, features, items, weights, *of_losses)
    torch.library.opcheck(torch.ops.mnad.memory_backward.default, arguments, wanted)


@pytest.mark.compiler
@pytest.mark.parametrize("device", DEVICES)
def test_compiles_into_one_graph(device: str) -> None:
    case = Case(2, 16, 4, 4, 5)
    features, items = make_features(case, device=device).requires_grad_(), make_items(case, device=device)

    def train(features: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        step = mnad_ext.memory_step(features * 2, items)
        loss = step.output.square().mean() + step.compactness.mean() + step.separateness.mean()
        return loss, mnad_ext.update_items(items, step.statistics)

    compiled = torch.compile(train, fullgraph=True)
    for function in (train, compiled):
        features.grad = None
        loss, updated = function(features, items)
        loss.backward()
        if function is train:
            expected = (loss, updated, features.grad)
    torch.testing.assert_close((loss, updated, features.grad), expected)


def test_exports_with_any_batch_size() -> None:
    class Read(torch.nn.Module):
        def forward(self, features: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
            output, _ = mnad_ext.memory_read(features, items)
            return output, mnad_ext.assign_top2(features, items)[0]

    case = Case(2, 16, 4, 4, 5)
    example = (make_features(case), make_items(case))
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(Read(), example, dynamic_shapes={"features": {0: batch}, "items": None})
    features, items = make_features(Case(7, 16, 4, 4, 5)), example[1]
    torch.testing.assert_close(exported.module()(features, items), Read()(features, items))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_the_features_and_widens_the_items(dtype: torch.dtype, device: str) -> None:
    case = Case(2, 16, 4, 4, 5)
    features, items = make_features(case, dtype, device=device), make_items(case, device=device).to(dtype)
    with pytest.raises(TypeError, match="items must be"):
        mnad_ext.memory_read(features, items)
    with torch.autocast(device, dtype):
        output, weights = mnad_ext.memory_read(features, items)
        updated = mnad_ext.memory_update(features, items)
    assert (output.dtype, weights.dtype, updated.dtype) == (dtype, torch.float32, torch.float32)
    torch.testing.assert_close(weights, reference.memory_read(features, items.float())[1])


def test_vmap_equals_a_loop() -> None:
    case = Case(3, 4, 2, 2, 2)
    features, items = make_features(case), make_items(case)

    def read(one: Tensor) -> Tensor:
        output: Tensor = torch.ops.mnad.memory_read(one.unsqueeze(0), items)[0]
        return output

    torch.testing.assert_close(torch.vmap(read)(features), torch.stack([read(one) for one in features]))


def test_second_derivatives_are_refused_in_words() -> None:
    features, items = make_features(SMALL[0]).requires_grad_(), make_items(SMALL[0])
    output, _ = mnad_ext.memory_read(features, items)
    (grad,) = torch.autograd.grad(output.square().sum(), features, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        grad.sum().backward()


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("operator", [mnad_ext.memory_read, mnad_ext.memory_step])
def test_forward_mode_is_refused_in_words(operator: Callable[..., Any], requires_grad: bool) -> None:
    features, items = make_features(SMALL[0]).requires_grad_(requires_grad), make_items(SMALL[0])
    with forward_ad.dual_level():
        for arguments in (
            (forward_ad.make_dual(features, torch.ones_like(features)), items),
            (features, forward_ad.make_dual(items, torch.ones_like(items))),
        ):
            with pytest.raises(RuntimeError, match="no forward-mode derivative"):
                operator(*arguments)
        operator(features, items)
    for transform in (torch.func.jacfwd, lambda f: lambda x: torch.func.jvp(f, (x,), (x,))):
        with pytest.raises(RuntimeError, match="no forward-mode derivative"):
            transform(lambda x: operator(x, items)[0])(features.detach())


def test_forward_mode_through_a_backward_pass_is_refused_in_words() -> None:
    features, items = make_features(SMALL[0]).requires_grad_(), make_items(SMALL[0])
    output, _ = mnad_ext.memory_read(features, items)
    with forward_ad.dual_level():
        grad = forward_ad.make_dual(torch.ones_like(output), torch.ones_like(output))
        with pytest.raises(RuntimeError, match="no forward-mode derivative"):
            torch.autograd.grad(output, features, grad)


def test_results_without_a_gradient_say_so() -> None:
    features, items = make_features(SMALL[0]).requires_grad_(), make_items(SMALL[0])
    step = mnad_ext.memory_step(features, items)
    results = [
        *mnad_ext.assign_top2(features, items),
        mnad_ext.memory_update(features, items),
        *step.statistics,
    ]
    assert not any(result.requires_grad for result in results)
    assert all(result.requires_grad for result in (step.output, step.weights, step.compactness, step.separateness))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [*OPERATORS, "memory_backward", "update_items"])
def test_fallback_for_devices_without_a_kernel(name: str, dtype: torch.dtype) -> None:
    """The kernel that another device would get, called on CPU tensors, equals the CPU kernel and warns once."""
    case = SMALL[0]
    features, items = make_features(case, dtype), make_items(case, dtype)
    step = mnad_ext.memory_step(features, items)
    wide = computing_dtype(dtype)
    arguments: dict[str, tuple[object, ...]] = {
        "update_items": (items, *step.statistics, "plain"),
        "memory_backward": (
            torch.ones_like(step.output), None, torch.ones(2, dtype=wide), torch.ones(2, dtype=wide),
            features, items, *torch.ops.mnad.memory_step(features, items)[1:5],
        ),
    }  # fmt: skip
    options = {"grad_through_weights": True, "wants_features": True, "wants_items": True}
    operator = getattr(torch.ops.mnad, name).default
    args = arguments.get(name, (features, items))
    kwargs = options if name == "memory_backward" else {}

    def call_for(key: str) -> Callable[[], object]:
        keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))
        return lambda: operator.redispatch(keys, *args, **kwargs)

    mnad_ext.ops._rules._warned.clear()
    with pytest.warns(UserWarning, match="was built without a cpu kernel"):
        fallback = call_for("MPS")()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call_for("MPS")()
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, 2e-2)
    torch.testing.assert_close(fallback, call_for("CPU")(), atol=tolerance, rtol=tolerance)
