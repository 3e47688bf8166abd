"""The choices of a measurement by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mnad.runtime.choices import check_choices
from mnad.runtime.devices import DeviceOption
from mnad.runtime.errors import ConfigError

UpdateScope = Literal["carried-over", "per-video", "none"]
Precision = Literal["32-true", "bf16"]
RuntimeName = Literal["torch", "openvino", "onnxruntime"]


@dataclass(frozen=True, kw_only=True)
class InferenceOptions(DeviceOption):
    """How a trained model computes.

    Attributes:
        precision: 32-true, or bf16 for the network; the memory computes in float32 all the same. It changes scores a
            little.
        runtime: What executes the network: torch, or openvino or onnxruntime, which are faster on some processors
            (mnad bench tells) and give the same scores within 1e-4. The memory stays ours.
    """

    precision: Precision = "32-true"
    runtime: RuntimeName = "torch"


@dataclass(frozen=True, kw_only=True)
class UpdateOptions:
    """The test-time update of the items.

    Attributes:
        update: Test-time update of the items: carried-over from video to video (published), per-video (items start
            anew in each video), or none.
        update_threshold: E_t below which a frame updates the items; the published value of the task if left out.

    Raises:
        ConfigError: If one is out of its range.
    """

    update: UpdateScope = "carried-over"
    update_threshold: float | None = None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_choices(self)
        if self.update_threshold is not None and self.update_threshold < 0:
            raise ConfigError(f"update_threshold must not be negative, got {self.update_threshold}")
