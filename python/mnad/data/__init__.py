"""Videos as people have them, turned into clips of frames and windows of clips."""

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
