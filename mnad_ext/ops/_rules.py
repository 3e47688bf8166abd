"""What the rules of all operators have in common: fake results, autocast, and the fallback to the reference."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from mnad_ext import _extension  # noqa: F401  (defines the operators)

LIBRARY = torch.library.Library("mnad", "IMPL")
_warned: set[tuple[str, str]] = set()


def computing_dtype(features: Tensor) -> torch.dtype:
    """Gives the dtype of all results but the output: float64 for float64 features, else float32."""
    return torch.float64 if features.dtype == torch.float64 else torch.float32


def empty_map(features: Tensor, channels: int) -> Tensor:
    """Gives an empty (B, channels, H, W) map in the dtype and memory format of the features."""
    B, _, H, W = features.shape
    if features.stride(1) == 1 and not features.is_contiguous():
        return features.new_empty((B, H, W, channels)).permute(0, 3, 1, 2)
    return features.new_empty((B, channels, H, W))


def empty_per_query(features: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Gives an empty contiguous (B, channels, H, W) map of any dtype."""
    return features.new_empty((features.shape[0], channels, *features.shape[2:]), dtype=dtype)


def empty_statistics(items: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gives empty update statistics."""
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
    that makes items under autocast gives them in half precision, which the memory does not take.
    """
    operator = getattr(torch.ops.mnad, name).default

    for device in ("cpu", "cuda"):
        key = f"Autocast{device.upper()}"

        def cast_items(features: Tensor, items: Tensor, *args: Any, _key: str = key, **options: Any) -> Any:
            with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, _key))):
                return operator(features, items.to(computing_dtype(features)), *args, **options)

        LIBRARY.impl(name, cast_items, key)


def register_fallback(name: str, reference: Callable[..., Any]) -> None:
    """Serves the devices that this build has no kernel for by the reference, with one warning each."""

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


def register_gradient(name: str, function: type[torch.autograd.Function]) -> None:
    """Gives an operator its gradient: ``function`` is applied to features, items and grad_through_weights.

    As torch.library.register_autograd does, but a call costs less: beside a small map that counts.
    """
    operator = getattr(torch.ops.mnad, name).default

    def kernel(features: Tensor, items: Tensor, *, grad_through_weights: bool = False) -> Any:
        refuse_forward_mode(features, items)
        if torch.is_grad_enabled() and (features.requires_grad or items.requires_grad):
            return function.apply(features, items, grad_through_weights)
        with torch._C._AutoDispatchBelowAutograd():
            return operator(features, items, grad_through_weights=grad_through_weights)

    LIBRARY.impl(name, kernel, "Autograd")


def refuse_forward_mode(*tensors: Tensor | None) -> None:
    """Makes sure that none carries a tangent: the operators would drop it, which is a derivative of zero."""
    if forward_ad._current_level < 0:
        return
    if any(tensor is not None and forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors):
        raise RuntimeError(
            "the memory has no forward-mode derivative (torch.func.jvp, jacfwd, forward_ad); use backward mode, or "
            "mnad_ext.reference, which is plain PyTorch"
        )


def register_constant(name: str) -> None:
    """Makes all results of an operator constants for autograd, at no cost to a call."""
    LIBRARY.impl(name, torch.library.fallthrough_kernel, "Autograd")
