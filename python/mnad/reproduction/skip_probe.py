"""The report's skip probe: prediction with skips and readout replaced, as a table and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnad.analysis import FILLERS, Probe, RestoredFrame, middle_of_anomaly, probed, restore
from mnad.evaluation import evaluate
from mnad.report.probe_plot import draw_probes
from mnad.reproduction.published import MODELS, PREDICTION
from mnad.reproduction.results import Result, Value
from mnad.reproduction.runner import Look, Run, Workshop
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


def probe_looks(workshop: Workshop, seeds: Sequence[int]) -> list[Look]:
    """Lists the measurements that the probe needs."""
    return [
        Look(Run(PREDICTION, dataset, seed=seeds[0]), "none", probe=probe)
        for dataset in workshop.there()
        for probe in PROBES
    ]


def skip_probe(workshop: Workshop, seeds: Sequence[int], out: Path) -> Result:
    """Measures each probe on the test frames and draws what the network makes of one of them."""
    rows: list[dict[str, Value]] = []
    whole: dict[DatasetName, float] = {}
    for look in probe_looks(workshop, seeds):
        assert look.probe is not None
        measured = workshop.measured(look)
        psnr = float(measured.psnr.mean())
        rows.append(
            {
                "data": TITLES[look.run.dataset],
                "replaced": str(look.probe),
                "by": look.probe.filler if look.probe != Probe() else None,
                "PSNR, dB": psnr,
                "lost, dB": whole.setdefault(look.run.dataset, psnr) - psnr,
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
            "test-time update; D does not change, as the decoder comes after it. Skip 1 is the finest. The report "
            "found the prediction optically unchanged with skips 2 and 3 and the readout replaced."
        ],
        missing=workshop.missing(),
        pictures={
            _draw(workshop, Run(PREDICTION, dataset, seed=seeds[0]), out): (
                f"{TITLES[dataset]}: a test frame as predicted while skips or the memory's readout are replaced."
            )
            for dataset in whole
        },
    )


def _draw(workshop: Workshop, run: Run, out: Path) -> str:
    clips = workshop.clips(run.dataset)
    model = workshop.model(run)
    frame = middle_of_anomaly(clips)
    drawn: dict[tuple[str, str], RestoredFrame] = {
        (str(probe), probe.filler): restore(probed(model, probe), clips, frame) for probe in PROBES
    }
    file = f"probe-{run.dataset}.png"
    draw_probes(out / file, drawn)
    return file
