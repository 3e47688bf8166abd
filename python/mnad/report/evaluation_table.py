"""An evaluation and a calibration as tables for people."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mnad.evaluation.calibration import Calibration
from mnad.evaluation.detection import Detection
from mnad.evaluation.scores import PROTOCOL_WORDS, parts_in_words
from mnad.evaluation.summary import Evaluation
from mnad.pipeline.outcome import Outcome

CHOSEN = "[yellow]chosen on test[/yellow]"
EVENTS_SHOWN = 20


def print_outcome(outcome: Outcome) -> None:
    """Prints metrics, choices and protocol, then the events."""
    rows = {} if outcome.evaluation is None else _metrics(outcome.evaluation, outcome)
    if outcome.pixels is not None:
        pixels = outcome.pixels
        without = f"; without {escape(', '.join(pixels.without_masks))}: no masks" if pixels.without_masks else ""
        grid = f"errors on {pixels.grid} x {pixels.grid}, masks on {pixels.size} x {pixels.size}"
        rows["pixel AUC of the error"] = f"{_percent(pixels.auc)} ({grid}, {pixels.frames:,} frames{without})"
    if outcome.score_pixels is not None:
        rows["pixel AUC of the score"] = _percent(outcome.score_pixels.auc)
    if outcome.sweep is not None:
        best = outcome.sweep
        rows["best lambda of 101"] = f"{best.best_weight:g}: {_percent(best.best_auc)} ({CHOSEN})"
    if outcome.detection is not None:
        rows |= _detection(outcome.detection)
    _print_rows(rows | _choices(outcome))
    if outcome.detection is not None:
        _print_events(outcome.detection)


def print_calibration(calibration: Calibration) -> None:
    """Prints the thresholds and what they were found by."""
    table = Table(box=None)
    for name in ("false alarms per hour", "threshold", "its spread", "frames above", "expected per hour"):
        table.add_column(name, justify="right")
    for each in calibration.thresholds:
        spread, expected = ("{:.4g} to {:.4g}".format(*pair) for pair in (each.spread, each.expected_per_hour))
        rate = f"{each.false_alarms_per_hour:g}"
        table.add_row(rate, f"{each.threshold:.4f}", spread, str(each.exceeding), expected)
    Console(highlight=False).print(table)
    least = 3600 * calibration.fps / calibration.frames
    unseen = [
        f"{each.false_alarms_per_hour:g}" for each in calibration.thresholds if each.false_alarms_per_hour < least
    ]
    trained = "the model was trained on them" if calibration.trained_on else "never trained on"
    ends = f"the last {calibration.hold_out:g} of {calibration.videos} videos"
    distance = calibration.bounds.distance
    scaled = "P from {:.2f} to {:.2f} dB".format(*calibration.bounds.psnr)
    scaled += "" if distance is None else ", D from {:.3g} to {:.3g}".format(*distance)
    rows = {}
    if unseen:
        rows["too few frames"] = (
            f"rates below {least:.4g} an hour cannot be seen in {calibration.frames:,} frames: the threshold for "
            f"{', '.join(unseen)} is the highest score, and what it promises is what is expected"
        )
    _print_rows(
        rows
        | {
            "frames": f"{calibration.frames:,}, {ends}; {trained}",
            "score": f"{parts_in_words(calibration.score_weight, calibration.locality)}; smoothing "
            f"{_smoothing(calibration)}; scaled by {scaled}",
            "test-time update": _update(calibration.update, calibration.update_threshold),
            "frame rate": f"{calibration.fps:g} a second",
            "spread, expected": "with probability 0.9; by drawing videos anew; as if frames were independent",
        }
    )


def _metrics(evaluation: Evaluation, outcome: Outcome) -> dict[str, str]:
    interval = outcome.interval
    undefined = [name for name, auc in evaluation.auc_by_video.items() if auc is None]
    left_out = f" (without {escape(', '.join(undefined))}: one kind of frame only)" if undefined else ""
    macro = "undefined" if evaluation.macro_auc is None else _percent(evaluation.macro_auc)
    sure = macro_sure = ""
    if interval is not None:
        sure = _interval(interval.auc, f"95 %, videos drawn {interval.resamples:,} times")
        macro_sure = "" if interval.macro_auc is None else _interval(interval.macro_auc, "95 %")
    return {
        "frame AUC, pooled": f"{_percent(evaluation.auc)}{sure} ({PROTOCOL_WORDS[evaluation.choices.protocol]})",
        "deployed AUC": _deployed(outcome),
        "frame AUC, mean of videos": macro + macro_sure + left_out,
        "average precision": _percent(evaluation.average_precision),
        "equal error rate": f"{_percent(evaluation.eer)} at threshold {evaluation.eer_threshold:.4f} ({CHOSEN})",
        "frames scored": f"{evaluation.frames:,}, {evaluation.abnormal:,} abnormal",
    }


def _deployed(outcome: Outcome) -> str:
    if outcome.deployed is None:
        return f"not known: {escape(outcome.not_deployed or '')}"
    choices = outcome.deployed.choices
    parts = parts_in_words(choices.score_weight, choices.locality)
    return f"{_percent(outcome.deployed.auc)} (one scale, past frames alone, by the calibration: {parts})"


def _choices(outcome: Outcome) -> dict[str, str]:
    protocol, choices = outcome.measurements.protocol, outcome.choices
    parts = parts_in_words(choices.score_weight, choices.locality, choices.score_weight_source)
    smoothed = "not smoothed" if choices.smoothing == "none" else f"smoothed {choices.smoothing}"
    width = "" if choices.smoothing_width is None else f" by {choices.smoothing_width} frames"
    updates = int(outcome.measurements.updated.sum())
    return {
        "score": f"{parts}, normalised {choices.normalisation}, {smoothed}{width}",
        "labels": escape(str(protocol["labels"])),
        "test-time update": f"{_update(protocol['update'], protocol['update_threshold'])}; {updates:,} updates",
        "model": f"{protocol['preset']}, epoch {protocol['epoch']}, size {protocol['size']}, weights "
        f"{(protocol.get('weights') or 'not known')[:12]}",
    }


def _detection(detection: Detection) -> dict[str, str]:
    rule, metrics = detection.rule, detection.metrics
    source = "given" if detection.calibrated_for is None else f"calibrated for {detection.calibrated_for:g} an hour"
    rows = {
        "threshold": f"{rule.threshold:.4f} ({source}), hysteresis {rule.hysteresis:g}, merge gap {rule.merge_gap}, "
        f"shortest event {rule.min_length}",
        "alarms": f"{len(detection.alarms)} events",
    }
    if metrics is None:
        return rows
    shares = {"precision": metrics.precision, "recall": metrics.recall, "F1": metrics.f1}
    known = ", ".join(f"{name} {'undefined' if value is None else _percent(value)}" for name, value in shares.items())
    rate = "undefined" if metrics.false_alarms_per_hour is None else f"{metrics.false_alarms_per_hour:.4g} an hour"
    video = f"{metrics.normal_frames:,} normal frames"
    if detection.fps is None:
        rate = "--fps says how many an hour"
    else:
        video = f"{metrics.normal_frames / detection.fps:.1f} s of normal video at {detection.fps:g} a second"
    return rows | {
        "frames within alarms": known,
        "labelled events found": f"{metrics.events_found} of {metrics.events}",
        "false alarms": f"{metrics.false_alarms} in {video}: {rate}; {metrics.false_alarm_frames} frames of it",
    }


def _print_events(detection: Detection) -> None:
    table = Table(box=None)
    for name in ("video", "first", "last", "peak", "score", "abnormal frames"):
        table.add_column(name, justify="left" if name == "video" else "right")
    for alarm in detection.alarms[:EVENTS_SHOWN]:
        abnormal = "" if alarm.abnormal_frames is None else str(alarm.abnormal_frames)
        numbers = map(str, (alarm.first, alarm.last, alarm.peak))
        table.add_row(escape(alarm.video), *numbers, f"{alarm.score:.4f}", abnormal)
    console = Console(highlight=False)
    console.print(table)
    if len(detection.alarms) > EVENTS_SHOWN:
        console.print(f"and {len(detection.alarms) - EVENTS_SHOWN} more: --out writes all of them")


def _print_rows(rows: dict[str, str]) -> None:
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/bold]", value)
    Console(highlight=False).print(table)


def _smoothing(calibration: Calibration) -> str:
    smoothing = calibration.smoothing
    return smoothing.name if smoothing.name == "none" else f"{smoothing.name} by {smoothing.width} frames"


def _update(update: object, threshold: object) -> str:
    return f"{update}" if threshold is None else f"{update}, where E_t < {threshold}"


def _interval(bounds: tuple[float, float], how: str) -> str:
    return f" [{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f}; {how}]"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"
