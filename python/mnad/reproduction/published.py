"""The numbers that were published, in per cent unless they say otherwise.

"The paper" is the reproducibility paper of 2021, "the original paper" the one that it reproduces (Park et al., CVPR
2020).
"""

from __future__ import annotations

from typing import NamedTuple

from mnad.models import PresetName
from mnad.reproduction.scale import DatasetName

PREDICTION: PresetName = "prediction"
PREDICTION_ALONE: PresetName = "prediction-no-memory"
RECONSTRUCTION: PresetName = "reconstruction"
RECONSTRUCTION_ALONE: PresetName = "reconstruction-no-memory"
MODELS: dict[PresetName, str] = {
    PREDICTION: "prediction with memory",
    PREDICTION_ALONE: "prediction without memory",
    RECONSTRUCTION: "reconstruction with memory",
    RECONSTRUCTION_ALONE: "reconstruction without memory",
}

# Minutes of training on an RTX 2080 Ti (the paper, table 1).
MINUTES: dict[PresetName, dict[DatasetName, float]] = {
    PREDICTION: {"ped2": 82, "avenue": 562, "shanghaitech": 1498},
    PREDICTION_ALONE: {"ped2": 76, "avenue": 406, "shanghaitech": 1390},
    RECONSTRUCTION: {"ped2": 67, "avenue": 405, "shanghaitech": 1207},
    RECONSTRUCTION_ALONE: {"ped2": 61, "avenue": 364, "shanghaitech": 1086},
}

# Seconds a frame on an RTX 2080 Ti (the paper, table 2); the original paper claims 67 frames a second.
INFERENCE_SECONDS: dict[PresetName, float] = {PREDICTION: 0.012, RECONSTRUCTION: 0.010}
ORIGINAL_SECONDS = 1 / 67

# Megabytes of the weights (the paper, table 3).
MEGABYTES: dict[PresetName, float] = {PREDICTION: 62.7, RECONSTRUCTION: 42.7}

# Recommended hyperparameters (the paper, table 4).
RECOMMENDED: dict[PresetName, dict[DatasetName, float]] = {
    PREDICTION: {"ped2": 96.33, "avenue": 87.91, "shanghaitech": 67.81},
    PREDICTION_ALONE: {"ped2": 95.09, "avenue": 84.58, "shanghaitech": 67.90},
    RECONSTRUCTION: {"ped2": 87.34, "avenue": 83.08, "shanghaitech": 64.14},
    RECONSTRUCTION_ALONE: {"ped2": 88.53, "avenue": 81.06, "shanghaitech": 67.72},
}


class Best(NamedTuple):
    """The best found by a search (the paper, table 5), where it was found, and what the original paper prints."""

    paper: float
    original: float
    score_weight: float | None
    epoch: int
    batch_size: int


SEARCHED: dict[PresetName, dict[DatasetName, Best]] = {
    PREDICTION: {
        "ped2": Best(97.06, 97.0, 0.52, 45, 2),
        "avenue": Best(87.91, 88.5, 0.7, 60, 4),
        "shanghaitech": Best(70.92, 70.5, 1.0, 1, 4),
    },
    PREDICTION_ALONE: {
        "ped2": Best(95.11, 94.3, None, 55, 4),
        "avenue": Best(84.58, 84.5, None, 60, 4),
        "shanghaitech": Best(67.9, 66.8, None, 10, 4),
    },
    RECONSTRUCTION: {
        "ped2": Best(88.36, 90.2, 0.9, 50, 4),
        "avenue": Best(83.13, 82.8, 0.7, 40, 4),
        "shanghaitech": Best(64.14, 69.8, 0.7, 10, 4),
    },
    RECONSTRUCTION_ALONE: {
        "ped2": Best(88.53, 86.4, None, 60, 4),
        "avenue": Best(81.20, 80.6, None, 50, 4),
        "shanghaitech": Best(68.47, 65.8, None, 5, 4),
    },
}


class Ablation(NamedTuple):
    """A row of the ablations on Ped2 (the paper, tables 6 and 7): what is left in, and what came of it."""

    separateness: bool
    compactness: bool
    update: bool
    score_weight: float
    paper: float


ABLATIONS: dict[PresetName, tuple[Ablation, ...]] = {
    RECONSTRUCTION: (
        Ablation(False, False, True, 0.87, 84.03),
        Ablation(False, True, True, 1.0, 88.99),
        Ablation(True, False, True, 0.8, 87.24),
        Ablation(True, True, False, 0.8, 87.72),
        Ablation(True, True, True, 0.7, 87.34),
    ),
    PREDICTION: (
        Ablation(False, False, True, 0.7, 95.70),
        Ablation(False, True, True, 0.9, 94.78),
        Ablation(True, False, True, 0.9, 95.02),
        Ablation(True, True, False, 0.6, 96.96),
        Ablation(True, True, True, 1.0, 95.13),
    ),
}

# ShanghaiTech without and with the memory distribution supervision (the paper, table 8), and, with it, without and with
# the test-time update (table 9).
SUPERVISION: dict[PresetName, tuple[float, float]] = {RECONSTRUCTION: (64.14, 71.07), PREDICTION: (67.81, 70.40)}
UPDATE_SUPERVISED: dict[PresetName, tuple[float, float]] = {PREDICTION: (70.40, 70.35), RECONSTRUCTION: (71.07, 64.14)}

# Items in use of 10 (the paper, figures 2 to 4).
ITEMS_IN_USE: dict[DatasetName, int] = {"ped2": 6, "avenue": 9, "shanghaitech": 1}

# Denoising reconstruction with skips on Ped2 (the paper); lambda 0.7 to 0.8 is its advice.
DENOISING_PED2 = 92.23
