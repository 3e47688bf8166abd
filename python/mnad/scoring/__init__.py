"""Scoring: what a trained model makes of each frame, with the published test-time update.

Per frame: the error of the restored frame, D, the distance of its queries from their items, and E_t, which decides
whether the frame may update the items. Abnormality scores are made of these later, in :mod:`mnad.evaluation`.
"""

from mnad.scoring.command import score
from mnad.scoring.config import Precision, ScoreConfig, UpdateScope
from mnad.scoring.figures import psnr, update_errors
from mnad.scoring.folding import fold_batchnorm
from mnad.scoring.mapping import MapRecorder
from mnad.scoring.measuring import measure

__all__ = [
    "MapRecorder",
    "Precision",
    "ScoreConfig",
    "UpdateScope",
    "fold_batchnorm",
    "measure",
    "psnr",
    "score",
    "update_errors",
]
