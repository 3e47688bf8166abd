"""The paper's skip probe: prediction with skips and readout replaced, as a table and as plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnad.analysis import FILLERS, Probe, RestoredFrame, middle_of_anomaly, probed, restore
from mnad.evaluation import evaluate
from mnad.report.probe_plot import draw_probes
from mnad.reproduction.published import MODELS, PREDICTION
from mnad.reproduction.results import Result, Value
from mnad.reproduction.runner import MeasurementSpec, Runner, TrainingSpec
from mnad.reproduction.scale import TITLES, DatasetName

REPLACED: tuple[tuple[tuple[int, ...], bool], ...] = (
    ((1,), False),
    ((2,), False),
    ((3,), False),
    ((2, 3), False),
    ((1, 2, 3), False),
    ((), True),
    ((2, 3), True),
    ((1, 2, 3), True),
)
PROBES = (
    Probe(),
    *(Probe(skips, readout, filler) for skips, readout in REPLACED for filler in FILLERS),
)


def probe_specs(runner: Runner, seeds: Sequence[int]) -> list[MeasurementSpec]:
    """Returns the measurement specs that the probe needs."""
    return [
        MeasurementSpec(TrainingSpec(PREDICTION, dataset, seed=seeds[0]), "none", probe=probe)
        for dataset in runner.available()
        for probe in PROBES
    ]


def skip_probe(runner: Runner, seeds: Sequence[int], out: Path) -> Result:
    """Measures each probe on the test frames and draws what the network makes of one of them."""
    rows: list[dict[str, Value]] = []
    whole: dict[DatasetName, float] = {}
    for spec in probe_specs(runner, seeds):
        assert spec.probe is not None
        measured = runner.measured(spec)
        psnr = float(measured.psnr.mean())
        rows.append(
            {
                "data": TITLES[spec.training.dataset],
                "replaced": str(spec.probe),
                "by": spec.probe.filler if spec.probe != Probe() else None,
                "PSNR, dB": psnr,
                "lost, dB": whole.setdefault(spec.training.dataset, psnr) - psnr,
                "AUC": 100 * evaluate(measured).auc,
                "AUC by PSNR alone": 100 * evaluate(measured, 1.0).auc,
            }
        )
    return Result(
        "skip-probe",
        "what the decoder needs of skips and memory",
        rows,
        [
            f"{MODELS[PREDICTION]}; mean PSNR and AUC in per cent (published lambda) over all test frames, without "
            "test-time update; D does not change, as the decoder comes after it. Skip 1 is the finest. The paper "
            "found the prediction optically unchanged with skips 2 and 3 and the readout replaced."
        ],
        missing=runner.missing(),
        plots={
            _draw(runner, TrainingSpec(PREDICTION, dataset, seed=seeds[0]), out): (
                f"{TITLES[dataset]}: a test frame as predicted while skips or the memory's readout are replaced."
            )
            for dataset in whole
        },
    )


def _draw(runner: Runner, training: TrainingSpec, out: Path) -> str:
    clips = runner.clips(training.dataset)
    model = runner.model(training)
    frame = middle_of_anomaly(clips)
    drawn: dict[tuple[str, str], RestoredFrame] = {
        (str(probe), probe.filler): restore(probed(model, probe), clips, frame) for probe in PROBES
    }
    file = f"probe-{training.dataset}.png"
    draw_probes(out / file, drawn)
    return file
