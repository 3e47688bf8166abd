"""Options of training runs that take a second or two."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {"size": 32, "width": 4, "learning_rate": 2e-3, "accelerator": "cpu"}
HELD_OUT: dict[str, Any] = {**TINY, "epochs": 1, "hold_out": 0.25}
# A calibration of the published score in place of that for cameras.
PUBLISHED_SCORE: dict[str, Any] = {"pooling": "mean", "relative": False, "score_weight": 0.6, "smoothing": "none"}
