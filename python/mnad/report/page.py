"""The report of a run: one HTML file that opens without a network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from mnad.artifacts.measurements import Measurements
from mnad.pipeline.evaluate import EvaluationOptions
from mnad.report import words
from mnad.report.gallery import Group, choose_moments, first_to_show
from mnad.report.judgement import Judgement, VideoJudgement, judge
from mnad.report.layers import ColourRange, canvas_size, make_layers
from mnad.report.material import Material, load_material
from mnad.report.page_data import page_data
from mnad.report.sprites import TILES, Layer, make_sprites
from mnad.runtime.errors import ConfigError, OutputError
from mnad.runtime.files import atomic_write

SCRIPTS = ("pictures.js", "charts.js", "player.js", "threshold.js", "page.js")
FORMS = {"error": (255, ".0f"), "distance": (1, ".3f"), "score": (1, "g")}  # of the numbers beside a palette
SPARK_WIDTH, SPARK_HEIGHT = 300, 40
# At most, in bytes: the tag around a sheet, and the number of a kept frame in the data.
BYTES_A_TAG, BYTES_A_NUMBER = 120, 8


@dataclass(frozen=True)
class ReportConfig(EvaluationOptions):
    """Options of a report.

    Attributes:
        run: A run's folder, with its checkpoint, measurements and maps.
        out: The HTML file; report.html in the run's folder if left out.
        measurements: Another file of measurements, with its maps beside it; measurements.npz of the run if left out.
        megabytes: The largest size of the file; with many frames pictures lose quality, then not every frame has one.
    """

    run: Path
    out: Path | None = None
    measurements: Path | None = None
    megabytes: float = 20.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        super().__post_init__()
        if not self.megabytes > 0:
            raise ConfigError(f"megabytes must be greater than 0, got {self.megabytes}")


def write_report(config: ReportConfig) -> Path:
    """Writes the report.

    Args:
        config: Where it is made from, how the run is evaluated, and what it may take.

    Returns:
        The file.

    Raises:
        DataError: If the run is not complete.
        ConfigError: If options do not fit.
        CheckpointError: If its checkpoint cannot be read.
        OutputError: If the report cannot be written, or not within the size.
    """
    evaluation = config.of(config.measurements or config.run)
    material = load_material(config.run, config.measurements)
    out = config.out or config.run / "report.html"
    page = render(material, judge(evaluation), round(config.megabytes * 1e6))
    with atomic_write(out) as temporary:
        temporary.write_bytes(page)
    return out


def render(material: Material, judgement: Judgement, limit: int, *, progress: bool = True) -> bytes:
    """Makes the page.

    Args:
        material: Of the run.
        judgement: Of its measurements.
        limit: The most bytes that it may take.
        progress: Whether to show a progress bar.

    Raises:
        OutputError: If what stands beside the pictures is larger already.
    """
    measurements = judgement.measurements
    groups = choose_moments(judgement)
    layers, scales = make_layers(material.maps, judgement.outcome.score_maps(material.maps))
    counts = [len(video.rows) for video in judgement.videos]
    opening = first_to_show(judgement)
    wanted = [opening, *(row for group in groups for row in group.rows)]
    context = _context(material, judgement, groups, layers, scales)
    data = page_data(material, judgement, layers, opening)
    environment = Environment(
        loader=PackageLoader("mnad.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    template = environment.get_template("report.html")
    # Twice: only what everything else leaves over says how good the pictures can be.
    without = template.render(context, data=data, sheets=(), pictures_text="")
    elements = sum(-(-count // TILES) for count in counts) * len(layers) + 1
    others = len(without.encode()) + BYTES_A_TAG * elements + BYTES_A_NUMBER * len(measurements)
    if others >= limit:
        raise OutputError(
            f"all but the pictures takes {others:,} bytes, and the file may have {limit:,}; allow a larger one with "
            "--megabytes, or take pictures out of the run's folder of plots"
        )
    sprites = make_sprites(layers, counts, wanted, limit - others, progress=progress)
    if sprites.plan.step > 1:
        for video, kept in zip(data["videos"], sprites.kept, strict=True):
            video["kept"] = kept.tolist()
    text = words.pictures_text(sprites.plan, layers[0].tiles.shape[2])
    return template.render(context, data=data, sheets=sprites.sheets, pictures_text=text).encode()


def _context(
    material: Material,
    judgement: Judgement,
    groups: Sequence[Group],
    layers: Sequence[Layer],
    scales: Mapping[str, ColourRange],
) -> dict[str, Any]:
    measurements, evaluation = judgement.measurements, judgement.evaluation
    memory = measurements.nearest.shape[1] > 0
    return {
        "title": words.title(measurements),
        "lead": words.lead(judgement),
        "headline": words.headlines(judgement),
        "short_protocol": words.short_protocol(material, judgement),
        "labelled": measurements.labels is not None,
        "evaluation": evaluation,
        "auc_text": words.percent(None if evaluation is None else evaluation.auc),
        "ap_text": words.percent(None if evaluation is None else evaluation.average_precision),
        "undefined_auc": any(video.auc is None for video in judgement.videos),
        "threshold": judgement.threshold,
        "threshold_text": f"{judgement.threshold:.3f}",
        "threshold_rule": judgement.threshold_rule,
        "span": judgement.span,
        "videos": [_video_row(measurements, judgement, index) for index in range(len(measurements.videos))],
        "spark": {
            "width": SPARK_WIDTH,
            "height": SPARK_HEIGHT,
            "threshold": _spark_y(judgement.threshold, judgement.span),
        },
        "layers": [_layer_words(layer, scales, measurements) for layer in layers],
        "gallery": [_group(measurements, judgement, group) for group in groups],
        "memory": words.memory_facts(material, measurements) if memory else None,
        "training": [
            {"title": title, "words": text} for title, text, _ in words.training_charts(list(material.curves))
        ],
        "plots": [
            {"caption": words.caption(plot), "data": base64.b64encode(plot.read_bytes()).decode()}
            for plot in material.plots
        ],
        "protocol": words.protocol_facts(material, judgement),
        "footer": words.footer(),
        "styles": _read("vendor/uplot/uPlot.min.css", "templates/report.css"),
        "scripts": _read("vendor/uplot/uPlot.iife.min.js", *(f"templates/{name}" for name in SCRIPTS)),
    }


def _read(*names: str) -> Markup:
    """Returns files of the package to be taken over as they are."""
    folder = resources.files("mnad.report")
    return Markup("\n".join(folder.joinpath(name).read_text() for name in names))


def _video_row(measurements: Measurements, judgement: Judgement, index: int) -> dict[str, Any]:
    video = judgement.videos[index]
    scores = judgement.scores[video.rows]
    return {
        "name": measurements.videos[index],
        "count": len(scores),
        "peak": int(np.argmax(scores)) if len(scores) else 0,
        "auc_text": words.percent(video.auc),
        "caught_text": f"{video.caught} of {len(video.labelled)}",
        "false_alarms": video.false_alarms,
        "alarms": len(video.alarms),
        "spark": {"points": spark_points(scores, judgement.span), "shades": _spark_shades(video, len(scores))},
    }


def spark_points(scores: NDArray[np.float64], span: tuple[float, float] = (0, 1)) -> str:
    """Returns the points of a small curve; of frames that share a place the highest score counts.

    Example:
        >>> import numpy as np
        >>> spark_points(np.array([0.0, 1.0, 0.5]))
        '50.0,39.0 150.0,1.0 250.0,20.0'
    """
    parts = np.array_split(scores, min(len(scores), SPARK_WIDTH)) if len(scores) else []
    width = SPARK_WIDTH / max(len(parts), 1)
    return " ".join(f"{(place + 0.5) * width:.1f},{_spark_y(part.max(), span):.1f}" for place, part in enumerate(parts))


def _spark_y(score: float, span: tuple[float, float]) -> float:
    low, high = span
    return 1 + (SPARK_HEIGHT - 2) * (high - score) / (high - low)


def _spark_shades(video: VideoJudgement, count: int) -> list[tuple[str, str]]:
    width = SPARK_WIDTH / max(count, 1)
    return [(f"{first * width:.1f}", f"{(last + 1 - first) * width:.1f}") for first, last in video.labelled]


def _layer_words(layer: Layer, scales: Mapping[str, ColourRange], measurements: Measurements) -> dict[str, Any]:
    title, text = words.layer_words(layer.name, measurements)
    described = {
        "name": layer.name,
        "title": title,
        "words": text,
        "canvas": canvas_size(layer),
        "palette": layer.is_map,
    }
    if layer.name in scales:
        scale = scales[layer.name]
        unit, form = FORMS[layer.name]
        described |= {"low_text": f"{unit * scale.low:{form}}", "high_text": f"{unit * scale.high:{form}}"}
    return described


def _group(measurements: Measurements, judgement: Judgement, group: Group) -> dict[str, Any]:
    moments = []
    for row in group.rows:
        video = int(measurements.video[row])
        moments.append(
            {
                "video": video,
                "row": row - int(judgement.videos[video].rows[0]),
                "name": measurements.videos[video],
                "frame": int(measurements.frame[row]),
                "score": f"{judgement.scores[row]:.2f}",
            }
        )
    return {"title": group.title, "words": group.words, "moments": moments}
