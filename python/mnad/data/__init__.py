"""Videos as people have them, turned into clips of frames and windows of clips.

What is named here is imported when it is used, so that who only decodes frames does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnad.data.cache import open_clips
    from mnad.data.clips import Clips
    from mnad.data.loading import Batches, ShuffledBatches
    from mnad.data.preparation import PrepareConfig, prepare
    from mnad.data.store import Store, open_store
    from mnad.data.synthetic import SyntheticSpec, kinds_of, write_synthetic
    from mnad.data.windows import Target, Windows, to_frames

__all__ = [
    "Batches",
    "Clips",
    "PrepareConfig",
    "ShuffledBatches",
    "Store",
    "SyntheticSpec",
    "Target",
    "Windows",
    "kinds_of",
    "open_clips",
    "open_store",
    "prepare",
    "to_frames",
    "write_synthetic",
]

_MODULES = {
    "open_clips": "cache",
    "Clips": "clips",
    "Batches": "loading",
    "ShuffledBatches": "loading",
    "PrepareConfig": "preparation",
    "prepare": "preparation",
    "Store": "store",
    "open_store": "store",
    "SyntheticSpec": "synthetic",
    "kinds_of": "synthetic",
    "write_synthetic": "synthetic",
    "Target": "windows",
    "Windows": "windows",
    "to_frames": "windows",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
