"""Videos as people have them, turned into clips of frames and windows of clips."""

from mnad.data.clips import Clips, load_clips
from mnad.data.frames_layout import Split, Video, read_split
from mnad.data.synthetic import SyntheticSpec, kinds_of, write_synthetic
from mnad.data.windows import Target, Windows, to_unit_range

__all__ = [
    "Clips",
    "Split",
    "SyntheticSpec",
    "Target",
    "Video",
    "Windows",
    "kinds_of",
    "load_clips",
    "read_split",
    "to_unit_range",
    "write_synthetic",
]
