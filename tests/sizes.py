"""Options of training runs that take a second or two."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {"size": 32, "width": 4, "learning_rate": 2e-3, "accelerator": "cpu"}
HELD_OUT: dict[str, Any] = {**TINY, "epochs": 1, "hold_out": 0.25}
