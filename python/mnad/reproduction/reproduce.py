"""``mnad reproduce``: carries out experiments, each once, and writes ours beside what was published."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only

from mnad.data.cache import check_data
from mnad.data.options import CacheOption
from mnad.reproduction import anomalies, skip_probe, strangers, tables, timing, usage
from mnad.reproduction.aucs import auc_table, specs_of_row
from mnad.reproduction.results import Result
from mnad.reproduction.runner import MeasurementSpec, Part, Runner
from mnad.reproduction.scale import DATASETS, SCALES, DatasetName, ScaleName
from mnad.reproduction.sharing import share, share_on_cluster
from mnad.runtime.choices import check_choices
from mnad.runtime.engine import EngineOptions
from mnad.runtime.errors import ConfigError, Interrupted
from mnad.runtime.files import atomic_write, writable_folder
from mnad.runtime.progress import print_line
from mnad.runtime.provenance import device_name, source_commit
from mnad.training.config import ComputeOptions

ExperimentName = Literal[
    "table1", "table2-3", "table4", "table5", "table6", "table7", "table8", "table9", "figures2-4", "figures1-5",
    "figures6-9", "skip-probe", "skip-noise", "strangers",
]  # fmt: skip
# What torchrun tells its processes of each other.
TORCHRUN = ("RANK", "WORLD_SIZE", "GROUP_", "ROLE_", "LOCAL_", "MASTER_", "TORCHELASTIC_")
GIVEN: tuple[DatasetName, ...] = (*DATASETS, "strangers")


Specs = Callable[[Runner, Sequence[int]], list[MeasurementSpec]]


@dataclass(frozen=True)
class Experiment:
    """An experiment: the parts of its work, which several processes share, and what it makes of them in a folder."""

    parts: Callable[[Runner, Sequence[int]], list[Part]]
    carry_out: Callable[[Runner, Sequence[int], Path], Result]


@dataclass(frozen=True)
class ReproduceConfig(EngineOptions, ComputeOptions, CacheOption):
    """Options of a reproduction.

    Attributes:
        name: The experiment, or all.
        data: Data sets as NAME=PATH, of ped2, avenue and shanghaitech; a path whose last part holds the name will do.
            strangers=PATH is a folder of normal video, each file or folder in it of one camera, for the experiment of
            that name. What is not given is left out and named. The synthetic set is made.
        out: The folder of all runs and results; what is there already is not done again.
        scale: full as published, or small: smaller networks and frames and fewer epochs, which every output says.
        seeds: How many seeds; from two on tables give mean and standard deviation.
        seed: The first of them.
    """

    name: ExperimentName | Literal["all"]
    out: Path
    data: tuple[str, ...] = ()
    scale: ScaleName = "full"
    seeds: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        check_choices(self)
        self.check_engine()
        if self.seeds < 1:
            raise ConfigError(f"seeds must be at least 1, got {self.seeds}")
        self.datasets()

    def datasets(self) -> dict[DatasetName, Path]:
        """The data sets by name."""
        found: dict[DatasetName, Path] = {}
        for given in self.data:
            name, equals, path = given.partition("=")
            where = Path(path if equals else given)
            names = [known for known in GIVEN if (known == name if equals else known in _plain(where.name))]
            if len(names) != 1:
                raise ConfigError(f"data must be NAME=PATH with NAME one of {', '.join(GIVEN)}, got {given!r}")
            found[names[0]] = where
        return found


def reproduce(config: ReproduceConfig) -> list[Result]:
    """Carries out an experiment, or all of them.

    Several processes that share ``out`` share the work: each trains and measures what no other one is at. Under
    torchrun each takes the GPU of its rank, and the first writes the results. By engine ray the devices of a cluster
    share it, and this process writes the results.

    Returns:
        What came out; nothing in processes that only helped.

    Raises:
        ConfigError: If options do not fit each other.
        DataError: If data are not as they should be.
        OutputError: If the folder cannot be written.
        Interrupted: If it was stopped; the same command goes on where it was.
    """
    first = _stand_alone()
    runner = Runner(
        writable_folder(config.out.absolute()),  # workers of a cluster begin in other folders
        {name: path.absolute() for name, path in config.datasets().items()},
        SCALES[config.scale],
        accelerator=config.accelerator,
        precision=config.precision,
        compile=config.compile,
        device_cache=config.device_cache,
        cache=config.cache,
    )
    for dataset in runner.available():
        check_data(runner.data[dataset], "training")
    seeds = range(config.seed, config.seed + config.seeds)
    names = [config.name] if config.name != "all" else [*EXPERIMENTS]
    if config.name == "all" and "strangers" not in runner.data:
        names.remove("strangers")
    results = []
    try:
        for name in names:
            began = time.perf_counter()
            parts = EXPERIMENTS[name].parts(runner, seeds)
            if config.engine == "ray":
                share_on_cluster(parts, runner, config.address)
            else:
                share(parts)
            if not first:
                continue
            folder = config.out / name
            result = EXPERIMENTS[name].carry_out(runner, seeds, folder)
            stamp = _provenance(runner, seeds, time.perf_counter() - began)
            result = replace(result, provenance=stamp | result.provenance)
            result.write(folder)
            print_line(result.markdown())
            results.append(result)
    except Interrupted as stop:
        raise Interrupted("stopped, and what was done is kept; the same command goes on where it was") from stop
    if len(results) > 1:
        _write_all(config.out, results)
    return results


def _write_all(folder: Path, results: Sequence[Result]) -> None:
    """Writes all results into one file each of Markdown and JSON."""
    parts = [result.markdown(2, f"{result.name}/") for result in results]
    with atomic_write(folder / "all.md") as temporary:
        temporary.write_text("\n".join(["# Ours beside the paper\n", *parts]))
    with atomic_write(folder / "all.json") as temporary:
        temporary.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def _stand_alone() -> bool:
    """Makes a process of torchrun's one that knows of no other, on the GPU of its rank; tells whether it is first."""
    rank, local_rank = int(os.environ.get("RANK", 0)), int(os.environ.get("LOCAL_RANK", -1))
    if local_rank >= 0:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[local_rank] if visible else str(local_rank)
    for name in [name for name in os.environ if name.startswith(TORCHRUN)]:
        del os.environ[name]
    # Read from those variables when it was imported; loggers write nothing by another rank.
    rank_zero_only.rank = 0  # type: ignore[attr-defined]
    return rank == 0


def _provenance(runner: Runner, seeds: Sequence[int], seconds: float) -> dict[str, str | float | int | bool | None]:
    return {
        "scale": runner.scale.describe(),
        "seeds": ", ".join(map(str, seeds)),
        "device": device_name(runner.device()),
        "precision": runner.precision,
        "torch": torch.__version__,
        "commit": source_commit(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "seconds, without what had been done before": round(seconds),
    }


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _measurements(specs: Specs) -> Callable[[Runner, Sequence[int]], list[Part]]:
    def part(runner: Runner, spec: MeasurementSpec) -> bool:
        if runner.trained(spec.training, wait=False) is None:
            return False
        runner.measured(spec)
        return True

    return lambda runner, seeds: [partial(part, runner, spec) for spec in specs(runner, seeds)]


def _aucs(name: str, title: str, rows: Callable[[], list[tables.Row]]) -> Experiment:
    def specs(runner: Runner, seeds: Sequence[int]) -> list[MeasurementSpec]:
        available = [row for row in rows() if row.training.dataset in runner.data]
        return [spec for row in available for spec in specs_of_row(row, runner, seeds)]

    def carry_out(runner: Runner, seeds: Sequence[int], _: Path) -> Result:
        return auc_table(name, title, rows(), runner, seeds)

    return Experiment(_measurements(specs), carry_out)


def _without_folder(
    carry_out: Callable[[Runner, Sequence[int]], Result],
) -> Callable[[Runner, Sequence[int], Path], Result]:
    return lambda runner, seeds, _: carry_out(runner, seeds)


EXPERIMENTS: dict[ExperimentName, Experiment] = {
    "table1": Experiment(_measurements(timing.training_time_specs), _without_folder(timing.table1)),
    "table2-3": Experiment(lambda *_: [], _without_folder(timing.tables2_and_3)),
    "table4": _aucs("table4", "recommended hyperparameters", tables.table4),
    "table5": _aucs("table5", "best after search", tables.table5),
    "table6": _aucs("table6", "ablation of reconstruction with memory", tables.table6),
    "table7": _aucs("table7", "ablation of prediction with memory", tables.table7),
    "table8": _aucs("table8", "memory distribution supervision", tables.table8),
    "table9": _aucs("table9", "test-time update with supervision", tables.table9),
    "figures2-4": Experiment(_measurements(usage.usage_specs), usage.figures2_to_4),
    "figures1-5": Experiment(_measurements(usage.embedding_specs), usage.figures1_and_5),
    "figures6-9": Experiment(_measurements(anomalies.anomaly_specs), anomalies.figures6_to_9),
    "skip-probe": Experiment(_measurements(skip_probe.probe_specs), skip_probe.skip_probe),
    "skip-noise": _aucs("skip-noise", "skips with noisy input", tables.skip_noise),
    "strangers": Experiment(strangers.parts, strangers.strangers),
}
assert set(EXPERIMENTS) == set(get_args(ExperimentName))
