"""memory_read and the gradient that it shares with memory_step."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from mnad_ext import reference
from mnad_ext._checks import check_features_and_items
from mnad_ext.ops import _rules
from mnad_ext.ops import _torch_internals as internals
from mnad_ext.ops.checkpointing import note_items, refuse_moved_items


def memory_read(features: Tensor, items: Tensor, *, grad_through_weights: bool = False) -> tuple[Tensor, Tensor]:
    """Reads the memory with every query (Park et al., CVPR 2020, eq. 1 and 2).

    With q_k = x_k / max(|x_k|, 1e-12) the query at position k and p_m item m, the weights are w_k = softmax over m of
    q_k . p_m, the readout is the sum over m of w_km p_m, and the output holds q_k, then the readout. The same in
    plain PyTorch is :func:`mnad_ext.reference.memory_read`.

    Args:
        features: (B, C, H, W), the encoder's raw output in float32, float64, bfloat16 or float16; contiguous and
            channels-last maps are read where they lie.
        items: (M, C), or (B, M, C) for one memory per sample; float32, float64 with float64 features. Rows of unit
            length give cosine scores; other rows are allowed.
        grad_through_weights: Whether the readout's gradient reaches the features and the items through the weights,
            too. The released code cuts it there. The gradient of ``weights`` itself is always whole.

    Returns:
        ``output`` (B, 2C, H, W) in the dtype and memory format of the features, and ``weights`` (B, M, H, W) in the
        dtype of the items; they sum to 1 over M. A query that holds a non-finite value is NaN in both.

    Raises:
        TypeError: If a dtype is not served.
        ValueError: If shapes or devices do not fit each other.

    Example:
        >>> import torch
        >>> from mnad_ext import memory_read
        >>> items = torch.nn.functional.normalize(torch.rand(10, 512), dim=1)
        >>> output, weights = memory_read(torch.randn(4, 512, 32, 32), items)
        >>> output.shape, weights.shape
        (torch.Size([4, 1024, 32, 32]), torch.Size([4, 10, 32, 32]))
    """
    check_features_and_items(features, items)
    result: tuple[Tensor, Tensor] = torch.ops.mnad.memory_read.default(
        features, items, grad_through_weights=grad_through_weights
    )
    return result


@torch.library.register_fake("mnad::memory_read")
def _fake(features: Tensor, items: Tensor, *, grad_through_weights: bool = False) -> tuple[Tensor, Tensor]:
    output = _rules.empty_map(features, 2 * features.shape[1])
    weights = _rules.empty_per_query(features, items.shape[-2], _rules.computing_dtype(features))
    return output, weights


def _setup_context(
    ctx: Any, inputs: tuple[Tensor, Tensor], keyword_only_inputs: dict[str, bool], output: tuple[Tensor, Tensor]
) -> None:
    save_for_gradient(ctx, inputs, keyword_only_inputs, output[1:])


def _backward(ctx: Any, grad_output: Tensor | None, grad_weights: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    return memory_gradient(ctx, (grad_output, grad_weights, None, None))


def save_for_gradient(
    ctx: Any, inputs: tuple[Tensor, Tensor], keyword_only_inputs: dict[str, bool], results: tuple[Tensor, ...]
) -> None:
    """Saves what :func:`memory_gradient` reads: features, items, weights and, of a step, indices, scores, distances."""
    ctx.save_for_backward(*inputs, *results)
    note_items(ctx, inputs[1])
    ctx.grad_through_weights = keyword_only_inputs["grad_through_weights"]
    ctx.set_materialize_grads(False)


def memory_gradient(
    ctx: Any, grads: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]
) -> tuple[Tensor | None, Tensor | None]:
    """Calls the backward operator for the gradients of features and items that autograd needs.

    Args:
        ctx: As :func:`save_for_gradient` left it.
        grads: Those of output, weights, compactness and separateness; None for one that is not there.
    """
    wants_features, wants_items = ctx.needs_input_grad[:2]
    if all(grad is None for grad in grads) or not (wants_features or wants_items):
        return None, None
    features, items, weights, *of_losses = ctx.saved_tensors
    refuse_moved_items(ctx, items)
    _rules.refuse_forward_mode(*grads)
    # Where no second derivative is recorded, its rule need not be asked for.
    with nullcontext() if torch.is_grad_enabled() else internals.below_autograd():
        grad_features, grad_items = torch.ops.mnad.memory_backward.default(
            *grads,
            features,
            items,
            weights,
            *(of_losses or (None, None, None)),
            grad_through_weights=ctx.grad_through_weights,
            wants_features=wants_features,
            wants_items=wants_items,
        )
    return (grad_features if wants_features else None), (grad_items if wants_items else None)


@torch.library.register_fake("mnad::memory_backward")
def _fake_backward(
    grad_output: Tensor | None,
    grad_weights: Tensor | None,
    grad_compactness: Tensor | None,
    grad_separateness: Tensor | None,
    features: Tensor,
    items: Tensor,
    weights: Tensor,
    indices: Tensor | None,
    scores: Tensor | None,
    distances: Tensor | None,
    *,
    grad_through_weights: bool,
    wants_features: bool,
    wants_items: bool,
) -> tuple[Tensor, Tensor]:
    return (
        _rules.empty_map(features, features.shape[1]) if wants_features else features.new_empty(0),
        items.new_empty(items.shape) if wants_items else items.new_empty(0),
    )


def _refuse_double_backward(ctx: Any, *grads: Tensor | None) -> None:
    raise RuntimeError(
        "the memory has no second derivative; for gradients of gradients use mnad_ext.reference, which is plain PyTorch"
    )


_rules.register_fallback("memory_read", reference.memory_read)
_rules.register_fallback("memory_backward", reference.memory_backward)
_rules.register_autocast("memory_read")
_rules.register_gradient("memory_read", _backward, _setup_context)
torch.library.register_autograd("mnad::memory_backward", _refuse_double_backward)
