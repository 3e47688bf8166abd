"""MNAD, memory-guided video anomaly detection: a detector for one's own video, and the steps that make one.

What is named here is imported when it is used, so that ``import mnad`` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mnad.runtime.version import __version__

if TYPE_CHECKING:
    from mnad.api import calibrate, evaluate, export, score, train
    from mnad.detector import Detector, VideoScores
    from mnad.graphs.folder import ExportedModel
    from mnad.watching.streams import FrameResult

__all__ = [
    "Detector",
    "ExportedModel",
    "FrameResult",
    "VideoScores",
    "__version__",
    "calibrate",
    "evaluate",
    "export",
    "score",
    "train",
]

_MODULES = {
    "Detector": "mnad.detector",
    "ExportedModel": "mnad.graphs.folder",
    "FrameResult": "mnad.watching.streams",
    "VideoScores": "mnad.detector",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "mnad.api")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
