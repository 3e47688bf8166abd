"""Makes a model of this package from a run: its weights in float16, a calibration of these, and its card.

    python weights/record.py ped2-small --run runs/ped2-small --data data/ped2 --trained-at COMMIT --trained-on DEVICE

The commands that made the run stand in MODELS. What the card tells is measured here, by the weights that ship.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from mnad.artifacts.checkpoint import Checkpoint, export_checkpoint, load_checkpoint
from mnad.pipeline.calibrate import CalibrateConfig, calibrate
from mnad.pipeline.evaluate import EvaluateConfig, evaluate_run
from mnad.pipeline.score import ScoreConfig, score
from mnad.runtime.provenance import device_name, source_commit

HERE = Path(__file__).parent / "mnad_weights"
UCSD = (
    "UCSD Ped2 (V. Mahadevan, W. Li, V. Bhalodia, N. Vasconcelos, Anomaly Detection in Crowded Scenes, CVPR 2010). It "
    "is for research use, and so are these weights."
)
CLIP = (
    "{clip}.mp4 of Intel's sample-videos (intel-iot-devkit/sample-videos), Creative Commons Attribution 4.0. These "
    "weights are under the same licence."
)
STRANGERS = (
    "mnad reproduce strangers --scale small --data strangers=clips ped2=ped2 --seeds 3 --precision bf16-mixed \\\n"
    "    --out tables    # the run of the scene with seed 0"
)
COMPOSED = (
    "The first part of the clip trains and calibrates; the test videos are composed of the rest: an object crosses or "
    "stays, the picture is covered or frozen, or plays backwards or twice as fast. A program made these events; how "
    "well the model finds real ones is not known."
)

IN_VIEW = (
    "The deployed score is the default for cameras, whose part of the frame and lambda were chosen with labels of "
    "several scenes in view, this one among them."
)


@dataclass(frozen=True)
class Model:
    """What a card says beside what is measured."""

    scene: str
    data: str
    command: str
    fps: float
    note: str


def of_clip(scene: str, clip: str, fps: float) -> Model:
    return Model(scene, CLIP.format(clip=clip), STRANGERS, fps, COMPOSED)


MODELS = {
    "ped2-small": Model(
        "a walkway with pedestrians; bicycles, skaters and carts are abnormal",
        UCSD,
        "mnad train --data ped2 --out runs/ped2-small --size 128 --width 16 --epochs 60 --hold-out 0.1 "
        "--precision bf16-mixed --seed 0 --keep-every 0",
        10,
        "Trained on nine tenths of each training video, calibrated on the last tenth.",
    ),
    "road-small": of_clip("cars on a road, from above", "car-detection", 12.5),
    "room-small": of_clip("people who come to a table in a room", "one-by-one-person-detection", 10),
    "table-small": of_clip("bottles that are put on a table and taken away", "bottle-detection", 179 / 6),
}


def record(name: str, run: Path, data: Path, trained_at: str, trained_on: str) -> None:
    trained, model = load_checkpoint(run), MODELS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name
        export_checkpoint(folder, replace(trained, calibration=None))
        calibrate(CalibrateConfig(folder, data, fps=model.fps))
        measured = score(ScoreConfig(folder, data, out=Path(temporary) / "measurements.npz"))
        published = evaluate_run(EvaluateConfig(measured))
        calibrated = evaluate_run(EvaluateConfig(measured, threshold="calibrated"))
        figures = {
            "frames of the test set": f"{len(published.measurements):,}",
            "AUC, published protocol (each video by its own extremes)": percent(published.evaluation.auc),
            "AUC, deployed (one scale, past frames alone)": percent(calibrated.deployed.auc),
        }
        text = card(name, model, folder, trained, (trained_at, trained_on), figures)
        (folder / "CARD.md").write_text(text, encoding="utf-8")
        shutil.rmtree(HERE / name, ignore_errors=True)
        shutil.copytree(folder, HERE / name)


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def card(
    name: str, model: Model, folder: Path, trained: Checkpoint, origin: tuple[str, str], figures: dict[str, str]
) -> str:
    checkpoint, training = load_checkpoint(folder), trained.training
    config = checkpoint.config
    machine = f"{device_name(torch.device('cpu'))}, torch {torch.__version__}"
    rows = {
        "scene": model.scene,
        "model": f"{training['preset']}, {training['size']} x {training['size']}, width {config.width}, "
        f"{config.frames_in} frames in, {checkpoint.epoch} epochs, {checkpoint.step:,} steps",
        "seed": training["seed"],
        "trained at": f"{origin[0]}, {training['precision']}, on {origin[1]}",
        "calibrated and measured at": f"{source_commit()}, 32-true, on {machine}",
        "weights": f"float16, hash {checkpoint.describe()['weights']}",
        **figures,
    }
    table = "\n".join(f"| {what} | {value} |" for what, value in rows.items())
    return (
        f"# {name}\n\n| | |\n|---|---|\n{table}\n\n{model.note} {IN_VIEW}\n\n## Data\n\n{model.data}\n\n## Made by\n\n"
        f"    {model.command.replace(chr(10), chr(10) + '    ')}\n"
        f"    python weights/record.py {name} --run RUN --data DATA --trained-at {origin[0]} \\\n"
        f"        --trained-on {origin[1]!r}\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trained-at", required=True, help="the commit that trained the run")
    parser.add_argument("--trained-on", required=True, help="the device and the version of torch that trained it")
    record(**vars(parser.parse_args()))
