"""What a report says in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnad.analysis import perplexity, shares
from mnad.artifacts.measurements import Measurements
from mnad.evaluation.scores import PROTOCOL_WORDS, parts_in_words
from mnad.models.memory_health import POSITION_ALONE
from mnad.report.judgement import Judgement
from mnad.report.material import Material
from mnad.report.sprites import SpritePlan
from mnad.runtime.provenance import source_commit
from mnad.runtime.version import __version__

Facts = list[tuple[str, str]]


@dataclass(frozen=True)
class Headline:
    """A metric of the summary: its name, its value, and what it means."""

    name: str
    value: str
    words: str


def percent(share: float | None) -> str:
    """Writes a share as a percentage, or none.

    Example:
        >>> percent(0.9512), percent(None)
        ('95.1 %', 'none')
    """
    return "none" if share is None else f"{100 * share:.1f} %"


def title(measurements: Measurements) -> str:
    """Names the report after its data."""
    return f"Anomalies in {Path(measurements.protocol['data']).name}"


def lead(judgement: Judgement) -> str:
    """Returns a few sentences on what this is about."""
    measurements = judgement.measurements
    task = "predict each next frame" if predicts(measurements) else "restore each frame"
    videos = len(measurements.videos)
    text = (
        f"A network saw only normal video, then had to {task} of {videos} videos. Where it fails, something "
        "abnormal may be going on: the score rises and the error map lights up."
    )
    meaning = " AUC is how often an abnormal frame scores above a normal one."
    return text if judgement.evaluation is None else text + meaning


def predicts(measurements: Measurements) -> bool:
    """Returns whether the model predicts frames that it has not seen."""
    return bool(measurements.protocol["task"] == "prediction")


def headlines(judgement: Judgement) -> list[Headline]:
    """Returns the metrics of the summary."""
    measurements, evaluation = judgement.measurements, judgement.evaluation
    videos = len(measurements.videos)
    alarms = len(judgement.detection.alarms)
    at = f"at the threshold {judgement.threshold:.2f}, {judgement.threshold_rule}"
    if evaluation is None or judgement.detection.metrics is None:
        return [
            Headline("Frames scored", f"{len(measurements):,}", f"of {videos} videos"),
            Headline("Alarms", str(alarms), at),
        ]
    meaning = f"50 % is guessing{_interval(judgement)}"
    kind = PROTOCOL_WORDS[evaluation.choices.protocol]
    found = [Headline(f"Frame AUC, {kind}", percent(evaluation.auc), f"all videos pooled; {meaning}")]
    deployed = judgement.outcome.deployed
    if deployed is not None and evaluation.choices.protocol != "deployed":
        words = "the score that a camera gets: one scale, past frames alone"
        found.append(Headline("Frame AUC, deployed", percent(deployed.auc), words))
    if evaluation.macro_auc is not None:
        defined = sum(auc is not None for auc in evaluation.auc_by_video.values())
        of = f"of the {defined} of {videos} videos that have both kinds of frames"
        found.append(Headline("Frame AUC, mean of videos", percent(evaluation.macro_auc), of))
    if judgement.outcome.pixels is not None:
        where = "the same for pixels: does the error map tell where?"
        found.append(Headline("Pixel AUC", percent(judgement.outcome.pixels.auc), where))
    metrics = judgement.detection.metrics
    return [
        *found,
        Headline("Abnormal events caught", f"{metrics.events_found} of {metrics.events}", at),
        Headline("False alarms", str(metrics.false_alarms), f"of {alarms} alarms in {len(measurements):,} frames"),
    ]


def short_protocol(material: Material, judgement: Judgement) -> str:
    """Returns a line on what the metrics depend on most."""
    protocol = judgement.measurements.protocol
    config = material.checkpoint.config
    parts = [
        f"Model {protocol['preset']} (width {config.width}, {protocol['size']} px, epoch {protocol['epoch']})",
        f"score with {_scoring(judgement)}",
        _update(judgement.measurements),
    ]
    return "; ".join(parts) + "."


def protocol_facts(material: Material, judgement: Judgement) -> Facts:
    """Lists every choice that the metrics depend on."""
    measurements = judgement.measurements
    protocol, rule = measurements.protocol, judgement.detection.rule
    config, training = material.checkpoint.config, material.checkpoint.training
    memory = config.memory and f"{config.memory.num_items} items, update rule {config.memory.update_rule}"
    interval = judgement.outcome.interval
    named = {
        "data": protocol["data"],
        "labels": protocol["labels"] or "none",
        "frames scored": f"{len(measurements):,} of {len(measurements.videos)} videos",
        "model": f"{protocol['preset']} ({protocol['task']}), width {config.width}",
        "memory": memory or "none",
        "frame size": f"{protocol['size']} x {protocol['size']} px",
        "trained": _trained(protocol, training),
        "score": _scoring(judgement),
        "test-time update": _update(measurements),
        "threshold": f"{judgement.threshold:.4g}: {judgement.threshold_rule}",
        "events": f"hysteresis {rule.hysteresis:g}, merged over {rule.merge_gap} frames, of {rule.min_length} at least",
        "interval": interval
        and f"{interval.level:.0%}, {interval.resamples:,} draws of the videos, seed {interval.seed}",
        "measured by": f"mnad-ext {protocol['version']}",
        "report by": f"mnad-ext {__version__}, commit {source_commit()}",
    }
    told = {"data", "labels", "preset", "task", "size", "epoch", "step", "update", "update_threshold", "version"}
    told |= {"memory", "model"}
    rest = {f"measured: {name.replace('_', ' ')}": value for name, value in protocol.items() if name not in told}
    written = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in rest.items()}
    return [(name, value) for name, value in (named | written).items() if value is not None]


def _trained(protocol: dict[str, Any], training: dict[str, Any]) -> str:
    if converted := training.get("converted_from"):
        files = " and ".join(f"{part['file']} (SHA-256 {part['sha256'][:12]})" for part in converted.values())
        return f"elsewhere, and converted from {files}"
    return f"{protocol['epoch']} epochs, {protocol['step']:,} steps, on {training.get('data', 'unknown data')}"


def memory_facts(material: Material, measurements: Measurements) -> dict[str, Any]:
    """Returns the state of the memory: over the test frames, and in the last epoch of training."""
    of_items = shares(measurements.nearest)
    facts = [
        ("items in use", f"{np.count_nonzero(of_items)} of {len(of_items)}"),
        ("perplexity of their use", f"{perplexity(of_items):.2f} of {len(of_items)}"),
    ]
    last = {name: values[-1] for name, values in material.curves.items() if values}
    words = "The memory holds what normal video looks like. It is alive if several items are in use"
    positional = last.get("positional_share")
    for name, what in (
        ("positional_share", "positional share (last epoch)"),
        ("mean_cosine", "mean cosine of two items (last epoch)"),
        ("entropy_bits", "entropy of the items, bits (last epoch)"),
        ("entropy_at_position_bits", "… at a known position, bits (last epoch)"),
    ):
        value = last.get(name)
        if value is not None:
            facts.append((what, f"{value:.3f}"))
    words += " and if which one is nearest depends on what is seen, not on where: a positional share below 1."
    if positional is not None and positional > POSITION_ALONE:
        words += f" Here the positional share is {positional:.3f}: this memory has learned where and nothing of what."
    return {"words": words, "facts": facts}


def pictures_text(plan: SpritePlan, size: int) -> str:
    """Returns a sentence on what the file's size has cost."""
    kept = "every frame has its pictures" if plan.step == 1 else f"one frame in {plan.step} has pictures"
    return f"{kept[0].upper()}{kept[1:]}, {size} px wide, WebP quality {plan.quality}."


def caption(plot: Path) -> str:
    """Returns a plot's caption: the text beside it (NAME.txt), or its name in words.

    Example:
        >>> caption(Path("plots/t-sne_of_queries.png"))
        'T-sne of queries'
    """
    beside = plot.with_suffix(".txt")
    text = (
        beside.read_text(encoding="utf-8", errors="replace")
        if beside.is_file()
        else plot.stem.replace("_", " ").capitalize()
    )
    return " ".join(text.split())


def layer_words(name: str, measurements: Measurements) -> tuple[str, str]:
    """Returns a layer's title and what it shows."""
    predicted = predicts(measurements)
    made = "expected" if predicted else "restored"
    return {
        "target": ("The frame", "as the camera saw it"),
        "restored": (f"What the model {made}", "from the frames before" if predicted else "from what it was shown"),
        "score": ("Where the score comes from", "on the scale of the score"),
        "error": (
            "Where they differ",
            f"error of the {'prediction' if predicted else 'restored frame'}, grey levels of 255",
        ),
        "distance": ("Strange to the memory", "distance of the features from the nearest item"),
    }[name]


def training_charts(curves: Sequence[str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Chooses the curves of training that are drawn: title, what it is, columns."""
    wanted = [
        ("Loss", "and its part of pixels", ("loss", "pixel")),
        ("PSNR", "of the training frames, dB; higher is better", ("psnr",)),
        ("Compactness", "of the queries around their items", ("compactness",)),
        ("Separateness", "hinge between first and second item", ("separateness",)),
        ("Items", "in use, and the perplexity of their use", ("items_in_use", "usage_perplexity")),
        ("Positional share", "1: the memory has learned where, not what", ("positional_share",)),
    ]
    return [(title, words, columns) for title, words, columns in wanted if set(columns) <= set(curves)]


def _scoring(judgement: Judgement) -> str:
    choices = judgement.outcome.choices
    smoothed = "not smoothed" if choices.smoothing == "none" else f"smoothed: {choices.smoothing}"
    width = "" if choices.smoothing_width is None else f" of {choices.smoothing_width} frames"
    parts = parts_in_words(choices.score_weight, choices.locality, choices.score_weight_source)
    return f"{parts}; P and D normalised {choices.normalisation}, {smoothed}{width}"


def _interval(judgement: Judgement) -> str:
    interval = judgement.outcome.interval
    if interval is None:
        return ""
    low, high = (f"{100 * bound:.1f}" for bound in interval.auc)
    return f"; {100 * interval.level:.0f} % interval {low} to {high}"


def _update(measurements: Measurements) -> str:
    protocol = measurements.protocol
    if protocol["update"] == "none":
        return "no test-time update"
    updates = int(measurements.updated.sum())
    where = f"where E_t < {protocol['update_threshold']} ({updates:,} of {len(measurements):,} frames)"
    return f"test-time update {protocol['update']} {where}"


def footer() -> str:
    """Returns the last lines: what made the file, and what it carries."""
    return (
        f"Made by mnad-ext {__version__}. Everything stands in this one file; it asks the network for nothing. Curves "
        "are drawn by uPlot 1.6.32, MIT licence, (c) 2022 Leon Sorokin."
    )
