"""``mnad export``: a trained model for places without PyTorch, or its weights in small files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from mnad.artifacts.checkpoint import Checkpoint, checkpoint_file, export_checkpoint, load_checkpoint, shareable
from mnad.data import Windows
from mnad.data.clips import evenly
from mnad.data.options import DataOptions
from mnad.evaluation.calibration import Calibration
from mnad.evaluation.locality import WHOLE_FRAME
from mnad.graphs.comparison import largest_differences
from mnad.graphs.folder import FORMATS, ExportedModel, is_exported_model, note_check, write_exported_model
from mnad.graphs.scoring import record_scoring, record_update
from mnad.measuring.network import Network
from mnad.measuring.usual import Usual
from mnad.pipeline.model_clips import open_as_trained
from mnad.runtime.choices import check_choices
from mnad.runtime.errors import ConfigError, OutputError
from mnad.runtime.files import atomic_folder
from mnad.runtime.places import Place, exists, place
from mnad.runtime.progress import print_line
from mnad.runtime.provenance import source_commit
from mnad.runtime.version import __version__

TOLERANCE = 1e-4
CHECKED = 8  # windows


@dataclass(frozen=True)
class ExportConfig(DataOptions):
    """Options of exporting.

    Attributes:
        run: A run's folder, a checkpoint file, or a folder of exported weights.
        out: The folder to make.
        format: onnx, openvino or pt2 (torch.export) for the whole step of scoring and the items' update as graphs; or
            weights for the weights alone, in float16 and in files of at most 16 MB, which mnad reads like a run.
        data: Frames by which the graphs are compared with the model, as normal video in any known layout; those that
            the run was trained on if left out.
    """

    run: Path
    out: Path
    format: Literal["onnx", "openvino", "pt2", "weights"] = "onnx"
    data: Place | None = None

    def __post_init__(self) -> None:
        """Checks the choices."""
        check_choices(self)


def export(config: ExportConfig) -> Path:
    """Writes a trained model for other places, and compares it with the model itself on real frames.

    Returns:
        The folder.

    Raises:
        CheckpointError: If there is no usable checkpoint.
        ConfigError: If what the format needs is not installed, or there are no frames to compare by.
        DataError: If the frames are not as they should be.
        OutputError: If it cannot be written, or gives other values than the model.
    """
    checkpoint = load_checkpoint(config.run)
    if config.format == "weights":
        return _export_weights(config, checkpoint)
    form = FORMATS[config.format]
    form.check_installed()
    pixels = _windows(config, checkpoint)
    calibration = None
    if checkpoint.calibration is not None:
        calibration = Calibration.from_dict(shareable(checkpoint.calibration), config.run)
    locality = calibration.locality if calibration else WHOLE_FRAME
    network = Network(checkpoint.build_model(), usual=Usual.of(checkpoint, config.run))
    graphs = {"score": record_scoring(network, checkpoint.training["size"], locality)}
    if network.memory is not None:
        graphs["update"] = record_update(network, checkpoint.training["size"])
    items = None if network.memory is None else network.memory.items.numpy()
    told = {"model": asdict(checkpoint.config), "calibration": None if calibration is None else calibration.as_dict()}
    with atomic_folder(config.out) as folder:
        metadata = _metadata(checkpoint, calibration)
        write_exported_model(folder, config.format, graphs, items, metadata, told)
        differences = largest_differences(ExportedModel.open(folder), network, locality, pixels)
        _check(differences, config)
        note_check(folder, {"windows": len(pixels), "largest_differences": differences})
    print_line(
        f"compared with the model on {len(pixels)} windows of real frames: all outputs are equal within "
        f"{max(differences.values()):.1e}"
    )
    return config.out


def _export_weights(config: ExportConfig, checkpoint: Checkpoint) -> Path:
    if checkpoint_file(config.out).is_file() or is_exported_model(config.out):
        raise ConfigError(f"{config.out} holds a run or an exported model already; name a folder of its own")
    export_checkpoint(config.out, checkpoint)
    if checkpoint.calibration is not None and load_checkpoint(config.out).calibration is None:
        print_line(
            "float16 rounds the weights, so the calibration is not that of the exported ones; calibrate these: mnad "
            f"calibrate {config.out} --data DATA"
        )
    return config.out


def _windows(config: ExportConfig, checkpoint: Checkpoint) -> Tensor:
    """Returns windows of real frames, spread over the data, (B, T, S, S, C_img) uint8."""
    clips = open_as_trained(checkpoint, config.data or _trained_on(checkpoint), "training", config)
    windows = Windows(clips, checkpoint.config.frames_in, checkpoint.config.target)
    pixels = windows.__getitems__(evenly(len(windows), CHECKED).tolist())
    return pixels.expand(*pixels.shape[:-1], checkpoint.config.image_channels).contiguous()  # grey is stored once


def _trained_on(checkpoint: Checkpoint) -> Place:
    known = checkpoint.training.get("data")
    if known is not None and exists(data := place(known)):
        return data
    where = "are not known" if known is None else f"are not at {known} any more"
    raise ConfigError(
        f"the frames that the run was trained on {where}; name some with --data, as any video of the camera"
    )


def _metadata(checkpoint: Checkpoint, calibration: Calibration | None) -> dict[str, str]:
    """Returns what the use of the graphs needs, as text: a graph says nothing else of itself."""
    config, training = checkpoint.config, checkpoint.training
    values: dict[str, Any] = {
        "version": __version__,
        "commit": source_commit(),
        "weights": checkpoint.describe()["weights"],
        "size": training["size"],
        "window": config.window,
        "image_channels": config.image_channels,
        "channel_order": "BGR" if config.image_channels == 3 else "grey",
        "scaling": "x / 127.5 - 1, within the graph",
        "memory": config.memory is not None,
    }
    if (levels := training.get("levels")) is not None:
        values |= {"black": levels[0], "white": levels[1]}
    if calibration is not None:
        values |= _calibrated(calibration)
    return {name: str(value) for name, value in values.items()}


def _calibrated(calibration: Calibration) -> dict[str, Any]:
    """Returns how the scores of a calibrated model are made of P and D, and where they are alarms."""
    first, bounds = calibration.thresholds[0], calibration.bounds
    values = {
        "fps": calibration.fps,
        "score_weight": calibration.score_weight,
        "psnr_low": bounds.psnr[0],
        "psnr_high": bounds.psnr[1],
        "smoothing": calibration.smoothing.name,
        "smoothing_width": 1 if calibration.smoothing.name == "none" else calibration.smoothing.width,
        "threshold": first.threshold,
        "false_alarms_per_hour": first.false_alarms_per_hour,
    }
    if bounds.distance is not None:
        values |= {"distance_low": bounds.distance[0], "distance_high": bounds.distance[1]}
    if calibration.update_threshold is not None:
        values |= {"update_threshold": calibration.update_threshold}
    return values


def _check(differences: dict[str, float], config: ExportConfig) -> None:
    name = max(differences, key=differences.__getitem__)
    if not all(each <= TOLERANCE for each in differences.values()):
        raise OutputError(
            f"the graph in {config.format} does not give what the model gives, and nothing was written: its {name} "
            f"differs by {differences[name]:.2g}, allowed is {TOLERANCE:g}; another version of torch or of what "
            "executes it may help"
        )
