"""Helpers to register the rules of operators: fake results, autocast, gradients, the fallback to the reference."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from mnad_ext import _extension  # noqa: F401  (defines the operators)
from mnad_ext.ops import _torch_internals as internals

LIBRARY = torch.library.Library("mnad", "IMPL")
_warned: set[tuple[str, str]] = set()


def computing_dtype(features: Tensor) -> torch.dtype:
    """Returns the dtype of all results but the output: float64 for float64 features, else float32."""
    return torch.float64 if features.dtype == torch.float64 else torch.float32


def empty_map(features: Tensor, channels: int) -> Tensor:
    """Returns an empty (B, channels, H, W) map in the dtype and memory format of the features."""
    B, _, H, W = features.shape
    if features.stride(1) == 1 and not features.is_contiguous():
        return features.new_empty((B, H, W, channels)).permute(0, 3, 1, 2)
    return features.new_empty((B, channels, H, W))


def empty_per_query(features: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Returns an empty contiguous (B, channels, H, W) map of any dtype."""
    return features.new_empty((features.shape[0], channels, *features.shape[2:]), dtype=dtype)


def empty_statistics(items: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns empty update statistics."""
    per_item = items.shape[:-1]
    return (
        items.new_empty(items.shape),
        items.new_empty(per_item),
        items.new_empty(per_item, dtype=torch.int64),
        items.new_empty(per_item),
        items.new_empty(per_item),
    )


def register_autocast(name: str) -> None:
    """Lets an operator take items in half precision under autocast.

    The features need no cast: the operators read every floating dtype and compute in float32 or better. But a layer
    that computes items under autocast returns them in half precision, which the operators refuse.
    ``torch.library.register_autocast`` would cast the features as well.
    """
    operator = getattr(torch.ops.mnad, name).default

    for device in ("cpu", "cuda"):

        def cast_items(features: Tensor, items: Tensor, *args: Any, _device: str = device, **options: Any) -> Any:
            items = items.to(computing_dtype(features))
            torch.set_autocast_enabled(_device, False)
            try:
                return operator(features, items, *args, **options)
            finally:
                torch.set_autocast_enabled(_device, True)

        LIBRARY.impl(name, cast_items, f"Autocast{device.upper()}")


def register_fallback(name: str, reference: Callable[..., Any]) -> None:
    """Calls the reference on devices that this build has no kernel for, with one warning each."""

    def fallback(*args: Any, **options: Any) -> Any:
        device = next(arg.device for arg in args if isinstance(arg, Tensor))
        if (name, device.type) not in _warned:
            _warned.add((name, device.type))
            warnings.warn(
                f"mnad_ext was built without a {device.type} kernel for {name}: the slower reference in PyTorch is "
                "used. Install again where a compiler for this device is found (MNAD_CUDA=1 for CUDA).",
                stacklevel=2,
            )
        with torch.no_grad():  # the operator's own rule, if it has one, gives the gradient
            return reference(*args, **options)

    LIBRARY.impl(name, fallback, "CompositeExplicitAutograd")


def register_gradient(name: str, backward: Callable[..., Any], setup_context: Callable[..., None]) -> None:
    """Registers the gradient of an operator (features, items, *, grad_through_weights).

    Takes the functions that ``torch.library.register_autograd`` takes and behaves like it, but a call costs less, and
    forward mode is refused where no gradient is recorded, too.
    """
    operator = getattr(torch.ops.mnad, name).default
    if not internals.HAS_BELOW_AUTOGRAD:
        _register_gradient_in_public(name, backward, setup_context)
        return

    def forward(ctx: Any, features: Tensor, items: Tensor, grad_through_weights: bool) -> Any:
        options = {"grad_through_weights": grad_through_weights}
        with internals.below_autograd():
            output = operator(features, items, **options)
        setup_context(ctx, (features, items), options, output)
        return output

    def backward_of_all(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        return *backward(ctx, *grads), None

    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward_of_all)}
    function = type(name, (torch.autograd.Function,), methods)

    def rule(features: Tensor, items: Tensor, *, grad_through_weights: bool = False) -> Any:
        refuse_forward_mode(features, items)
        if torch.is_grad_enabled() and (features.requires_grad or items.requires_grad):
            return function.apply(features, items, grad_through_weights)  # type: ignore[attr-defined]
        with internals.below_autograd():
            return operator(features, items, grad_through_weights=grad_through_weights)

    LIBRARY.impl(name, rule, "Autograd")


def _register_gradient_in_public(name: str, backward: Callable[..., Any], setup_context: Callable[..., None]) -> None:
    operator = getattr(torch.ops.mnad, name).default
    torch.library.register_autograd(operator, backward, setup_context=setup_context)
    for key in ("AutogradCPU", "AutogradCUDA"):
        registered = torch.library.get_kernel(operator, key)

        def rule(keys: Any, features: Tensor, items: Tensor, _registered: Any = registered, **options: Any) -> Any:
            refuse_forward_mode(features, items)
            return _registered.call_boxed(keys, features, items, **options)

        LIBRARY.impl(name, rule, key, with_keyset=True)


def refuse_forward_mode(*tensors: Tensor | None) -> None:
    """Raises where a tensor carries a tangent: the operators would drop it, which is a derivative of zero."""
    if not internals.may_carry_tangents():
        return
    if any(tensor is not None and forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors):
        raise RuntimeError(
            "the memory has no forward-mode derivative (torch.func.jvp, jacfwd, forward_ad); use backward mode, or "
            "mnad_ext.reference, which is plain PyTorch"
        )


def register_constant(name: str) -> None:
    """Makes all results of an operator constants for autograd, at no cost to a call."""
    LIBRARY.impl(name, torch.library.fallthrough_kernel, "Autograd")
