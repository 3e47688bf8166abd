"""From measurements to scores, metrics, thresholds and events. Every choice on the way has a name."""

from mnad.evaluation.calibration import Calibration, Threshold, find_thresholds
from mnad.evaluation.checks import check_measurements, check_same_frames, with_labels
from mnad.evaluation.confidence import Interval, bootstrap
from mnad.evaluation.detection import Detection, DetectionMetrics, detect
from mnad.evaluation.events import Alarm, AlarmRule, find_alarms, find_events
from mnad.evaluation.lambda_sweep import Sweep, sweep
from mnad.evaluation.localisation import PixelMetrics, pixel_metrics
from mnad.evaluation.locality import Locality, localised
from mnad.evaluation.metrics import aucs, average_precision, equal_error_rate, pooled_auc
from mnad.evaluation.normalisation import Bounds, Normalisation, Scaling, bounds_of
from mnad.evaluation.scores import Choices, abnormality
from mnad.evaluation.smoothing import Smoothing, SmoothingName, smooth
from mnad.evaluation.summary import Evaluation, evaluate

__all__ = [
    "Alarm",
    "AlarmRule",
    "Bounds",
    "Calibration",
    "Choices",
    "Detection",
    "DetectionMetrics",
    "Evaluation",
    "Interval",
    "Locality",
    "Normalisation",
    "PixelMetrics",
    "Scaling",
    "Smoothing",
    "SmoothingName",
    "Sweep",
    "Threshold",
    "abnormality",
    "aucs",
    "average_precision",
    "bootstrap",
    "bounds_of",
    "check_measurements",
    "check_same_frames",
    "detect",
    "equal_error_rate",
    "evaluate",
    "find_alarms",
    "find_events",
    "find_thresholds",
    "localised",
    "pixel_metrics",
    "pooled_auc",
    "smooth",
    "sweep",
    "with_labels",
]
