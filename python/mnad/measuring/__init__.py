"""Measuring: what a trained model makes of each frame, with the published test-time update.

Per frame: the error of the restored frame, D, the distance of its queries from their items, and E_t, which decides
whether the frame may update the items. Abnormality scores are made of these later, in :mod:`mnad.evaluation`.
"""

from mnad.measuring.folding import fold_batchnorm
from mnad.measuring.map_recorder import MapRecorder
from mnad.measuring.measurement import measure, measure_by
from mnad.measuring.metrics import psnr, update_errors
from mnad.measuring.options import Precision, UpdateScope

__all__ = [
    "MapRecorder",
    "Precision",
    "UpdateScope",
    "fold_batchnorm",
    "measure",
    "measure_by",
    "psnr",
    "update_errors",
]
