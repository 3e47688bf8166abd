"""Checks of arguments, in the user's words. The compiled operators check again what protects memory."""

from __future__ import annotations

import torch
from torch import Tensor

from mnad_ext.statistics import UPDATE_RULES, UpdateStatistics

FEATURE_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def check_features_and_items(features: Tensor, items: Tensor) -> None:
    """Checks that features (B, C, H, W) and items ([B,] M, C) fit each other.

    Raises:
        TypeError: If one is no tensor or has a dtype that is not served.
        ValueError: If a shape or a device doesn't fit.
    """
    _check_tensor(features, "features")
    _check_tensor(items, "items")
    if features.dtype not in FEATURE_DTYPES:
        raise TypeError(
            f"features must be float32, float64, bfloat16 or float16, got {features.dtype}; convert them with .float()"
        )
    expected = torch.float64 if features.dtype == torch.float64 else torch.float32
    if items.dtype != expected and not torch.is_autocast_enabled(items.device.type):
        raise TypeError(
            f"items must be {expected} beside {features.dtype} features, got {items.dtype}; convert them with "
            f".to({expected})"
        )
    if features.ndim != 4:
        raise ValueError(f"features must be (B, C, H, W), got shape {_shape(features)}")
    check_items(items)
    B, C = features.shape[:2]
    if C < 1:
        raise ValueError(f"features must have at least one channel, got shape {_shape(features)}")
    if items.shape[-1] != C:
        raise ValueError(
            f"items must be as wide as the features' {C} channels, got items {_shape(items)} for features "
            f"{_shape(features)}"
        )
    if items.ndim == 3 and items.shape[0] != B:
        raise ValueError(f"items (B, M, C) must hold one memory for each of the {B} samples, got {_shape(items)}")
    if items.device != features.device:
        raise ValueError(
            f"items and features must be on one device, got items on {items.device} and features on "
            f"{features.device}; move one with .to(...)"
        )


def check_items(items: Tensor) -> None:
    """Checks the shape of items, (M, C) or (B, M, C) with M >= 1."""
    if items.ndim not in (2, 3):
        raise ValueError(f"items must be (M, C) or (B, M, C), got shape {_shape(items)}")
    if items.shape[-2] < 1:
        raise ValueError(f"items must hold at least one item, got shape {_shape(items)}")


def check_two_items(items: Tensor) -> None:
    """Checks that there is a second nearest item."""
    if items.shape[-2] < 2:
        raise ValueError(
            f"the two nearest items need at least 2 items, got items {_shape(items)}; with M = 1 there is no second one"
        )


def check_rule(rule: str) -> None:
    """Checks the name of an update rule."""
    if rule not in UPDATE_RULES:
        raise ValueError(f"rule must be one of {UPDATE_RULES}, got {rule!r}")


def check_statistics(items: Tensor, statistics: UpdateStatistics) -> None:
    """Checks that statistics belong to items of this shape."""
    _check_tensor(items, "items")
    check_items(items)
    if items.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"items must be float32 or float64, got {items.dtype}")
    shape, per_item = items.shape, items.shape[:-1]
    for name, value in zip(UpdateStatistics._fields, statistics, strict=True):
        _check_tensor(value, name)
        expected = shape if name == "weighted_sum" else per_item
        if value.shape != expected:
            raise ValueError(
                f"statistics.{name} must be {tuple(expected)} for items {_shape(items)}, got {_shape(value)}"
            )


def _check_tensor(value: object, name: str) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(str(size) for size in tensor.shape)})"
