"""Bad input: which argument, the rule, what came."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import mnad_ext
from mnad_ext import MemoryModule

ITEMS = torch.eye(3, 8)
FEATURES = torch.randn(2, 8, 4, 4)
# What a std::invalid_argument of the compiled operators, called past the public functions, arrives as.
REFUSED = ValueError if torch.__version__ < (2, 15) else RuntimeError
BOTH: list[Callable[..., object]] = [
    mnad_ext.memory_read,
    mnad_ext.assign_top2,
    mnad_ext.memory_step,
    mnad_ext.memory_update,
    mnad_ext.update_statistics,
]


@pytest.mark.parametrize("operator", BOTH, ids=lambda operator: operator.__name__)
@pytest.mark.parametrize(
    ("features", "items", "error", "message"),
    [
        (FEATURES[0], ITEMS, ValueError, r"features must be \(B, C, H, W\), got shape \(8, 4, 4\)"),
        (FEATURES.int(), ITEMS, TypeError, "features must be float32, .*, got torch.int32"),
        (FEATURES.double(), ITEMS, TypeError, "items must be torch.float64 beside torch.float64 features"),
        (FEATURES, ITEMS.half(), TypeError, "items must be torch.float32 .* got torch.float16"),
        (
            FEATURES,
            ITEMS[:, :5],
            ValueError,
            "items must be as wide as the features' 8 channels, got items .3, 5.",
        ),
        (FEATURES, ITEMS[0], ValueError, r"items must be \(M, C\) or \(B, M, C\), got shape \(8\)"),
        (FEATURES, ITEMS.expand(3, 3, 8), ValueError, "one memory for each of the 2 samples"),
        (FEATURES, ITEMS[:0], ValueError, "at least one item"),
        (FEATURES[:, :0], ITEMS[:, :0], ValueError, "at least one channel"),
        (
            FEATURES,
            ITEMS.to("meta"),
            ValueError,
            "must be on one device, got items on meta and features on cpu",
        ),
        (FEATURES.numpy(), ITEMS, TypeError, "features must be a torch.Tensor, got ndarray"),
    ],
)
def test_features_and_items(
    operator: Callable[..., object], features: Tensor, items: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        operator(features, items)


@pytest.mark.parametrize("operator", [mnad_ext.assign_top2, mnad_ext.memory_step])
def test_top_two_of_one_item(operator: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="at least 2 items, got items .1, 8."):
        operator(FEATURES, ITEMS[:1])


def test_unknown_rule() -> None:
    with pytest.raises(ValueError, match="rule must be one of .*max-all.*, got 'mean'"):
        mnad_ext.memory_update(FEATURES, ITEMS, "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rule must be one of"):
        mnad_ext.update_items(ITEMS, mnad_ext.update_statistics(FEATURES, ITEMS), "mean")  # type: ignore[arg-type]


def test_statistics_of_other_items() -> None:
    with pytest.raises(ValueError, match=r"statistics.weighted_sum must be \(2, 8\)"):
        mnad_ext.update_items(ITEMS[:2], mnad_ext.update_statistics(FEATURES, ITEMS))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda op: op.memory_read(FEATURES[0], ITEMS), "features must be"),
        (lambda op: op.memory_read(FEATURES, ITEMS[:, :5]), "don't fit"),
        (lambda op: op.memory_read(FEATURES, ITEMS.double()), "items must be float32"),
        (lambda op: op.assign_top2(FEATURES, ITEMS[:1]), "at least 2 items"),
        (lambda op: op.memory_update(FEATURES, ITEMS, "mean"), "rule must be"),
        (lambda op: op.update_items(ITEMS, ITEMS, *[ITEMS[:2, 0]] * 4), "doesn't fit items"),
    ],
)
def test_the_compiled_operators_protect_memory(call: Callable[..., object], message: str) -> None:
    with pytest.raises(REFUSED, match=message):
        call(torch.ops.mnad)


def test_backward_protects_memory() -> None:
    output, weights = mnad_ext.memory_read(FEATURES, ITEMS)
    flags = {"grad_through_weights": False, "wants_features": True, "wants_items": False}
    backward = torch.ops.mnad.memory_backward
    with pytest.raises(REFUSED, match="grad_output .* doesn't fit"):
        backward(output[:1], None, None, None, FEATURES, ITEMS, weights, None, None, None, **flags)
    with pytest.raises(REFUSED, match="weights .* doesn't fit"):
        backward(output, None, None, None, FEATURES, ITEMS, weights[:, :1], None, None, None, **flags)
    indices, scores = mnad_ext.assign_top2(FEATURES, ITEMS)
    losses = (None, None, torch.ones(2), None, FEATURES, ITEMS, weights)
    with pytest.raises(REFUSED, match="indices, scores and distances are needed"):
        backward(*losses, indices, scores, None, **flags)
    with pytest.raises(REFUSED, match="distances .* doesn't fit"):
        backward(*losses, indices, scores, scores[:, :1], **flags)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"channels": 8, "num_items": 0}, "num_items must be at least 1, got 0"),
        ({"channels": 8, "update_rule": "mean"}, "update_rule must be one of .* got 'mean'"),
    ],
)
def test_module_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemoryModule(**options)  # type: ignore[arg-type]
