"""The runner of experiments: trains and measures each spec once, in a folder named by what it computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from mnad.analysis import Probe, probed
from mnad.artifacts.checkpoint import Checkpoint, checkpoint_file, epochs_done, load_checkpoint
from mnad.artifacts.curves import read_curves
from mnad.artifacts.maps import maps_beside
from mnad.artifacts.measurements import Measurements, load_measurements, save_measurements
from mnad.data import Clips, SyntheticSpec, open_clips, write_synthetic
from mnad.data.synthetic import MANIFEST
from mnad.measuring import UpdateScope, measure
from mnad.models import PRESETS, Autoencoder, PresetName
from mnad.models.memory_health import MemoryHealth
from mnad.pipeline.score import ScoreConfig, score
from mnad.reproduction.deadline import Deadline
from mnad.reproduction.scale import DATASETS, TITLES, DatasetName, Scale
from mnad.runtime.devices import choose_device
from mnad.runtime.errors import CheckpointError
from mnad.runtime.files import alone, atomic_write
from mnad.runtime.places import absolute
from mnad.runtime.progress import print_line
from mnad.training import TrainConfig, train
from mnad.training.config import FREE_TO_CHANGE, training_options
from mnad.training.logs import logged_health

# Trains and measures a part of what an experiment needs; False where another process is at it.
Part = Callable[[], bool]


@dataclass(frozen=True)
class TrainingSpec:
    """One training: a preset on a data set, and what differs from the preset's recipe.

    Attributes:
        preset: The variant.
        dataset: The data set.
        compactness: Whether the compactness loss is left in.
        separateness: Whether the separateness loss is left in.
        supervised: Whether the paper's memory distribution supervision is added.
        batch_size: Windows of a step.
        seed: Of weights, items, noise and the order of the windows.
        folder: The run's folder within the runner's; named by a hash of what is computed if None.
    """

    preset: PresetName
    dataset: DatasetName
    compactness: bool = True
    separateness: bool = True
    supervised: bool = False
    batch_size: int = 4
    seed: int = 0
    folder: str | None = None

    def __str__(self) -> str:
        """Returns a name for people."""
        parts = [f"{PRESETS[self.preset].summary}, {TITLES[self.dataset]}"]
        parts += [f"without {name}" for name in ("compactness", "separateness") if not getattr(self, name)]
        parts += ["with supervision"] * self.supervised
        parts += [f"batch {self.batch_size}"] * (self.batch_size != 4)
        return ", ".join([*parts, f"seed {self.seed}"])


@dataclass(frozen=True)
class MeasurementSpec:
    """One measurement: a training, and how it measures the test frames.

    Attributes:
        training: What is trained.
        update: Test-time update of the items; a model without memory has none.
        epoch: The epoch whose checkpoint is measured; the last if None.
        probe: What the decoder is given in place of skips and readout; without test-time update.
        maps: Whether maps of each frame are stored, too, as the HTML report needs them; not with a probe.
    """

    training: TrainingSpec
    update: UpdateScope = "carried-over"
    epoch: int | None = None
    probe: Probe | None = None
    maps: bool = False

    def __str__(self) -> str:
        """Returns a name for people."""
        epoch = "last epoch" if self.epoch is None else f"epoch {self.epoch}"
        replaced = "" if self.probe is None else f", {self.probe} replaced by {self.probe.filler}"
        return f"{self.training}; {epoch}, test-time update {self.update}{replaced}"


@dataclass(frozen=True)
class Runner:
    """Trains and measures what experiments ask for, unless that has been done; what was stopped goes on.

    Attributes:
        folder: Of all runs and results.
        data: The folder of each published data set that was given.
        scale: How large the experiments are.
        accelerator: cpu, cuda, or auto.
        precision: As for training.
        compile: Whether networks are compiled in training.
        cuda_graphs: Whether each training step is replayed as one CUDA graph.
        device_cache: Whether frames are held in the device's memory in training.
        cache: Where clip stores are kept.
        deadline: When all must have ended; training then stops with a checkpoint and time is left to score. None
            for as long as it takes.

    Example:
        >>> from mnad.reproduction.scale import SCALES
        >>> runner = Runner(Path("tables"), {"ped2": Path("data/ped2")}, SCALES["small"])
        >>> runner.available(), runner.missing({"ped2", "avenue"})
        (['ped2'], ['what is about Avenue, as its data were not given'])
    """

    folder: Path
    data: dict[DatasetName, Path]
    scale: Scale
    accelerator: str = "auto"
    precision: Any = "32-true"
    compile: bool = False
    cuda_graphs: bool = False
    device_cache: bool = False
    cache: Path | None = None
    deadline: Deadline | None = None
    _finished: set[Path] = field(default_factory=set, repr=False, compare=False)

    def available(self) -> list[DatasetName]:
        """Returns the published data sets that were given, in the order of the tables."""
        return [dataset for dataset in DATASETS if dataset in self.data]

    def missing(self, wanted: Collection[DatasetName] = DATASETS) -> list[str]:
        """Returns what is left out of the published data sets that are wanted and were not given."""
        return [
            f"what is about {TITLES[name]}, as its data were not given"
            for name in DATASETS
            if name in wanted and name not in self.data
        ]

    def path(self, dataset: DatasetName) -> Path:
        """Returns the folder of a data set; makes the synthetic one if need be."""
        return self.synthetic(self.scale.synthetic) if dataset == "synthetic" else self.data[dataset]

    def synthetic(self, spec: SyntheticSpec) -> Path:
        """Returns the folder of a synthetic data set; makes it if need be."""
        root = self.folder / "data" / f"synthetic-{hashlib.sha256(repr(spec).encode()).hexdigest()[:8]}"
        with alone(root):
            if not (root / MANIFEST).is_file():
                write_synthetic(root, spec)
        return root

    def clips(self, dataset: DatasetName) -> Clips:
        """Returns the test frames of a data set, mapped from its clip store."""
        return open_clips(self.path(dataset), "testing", self.scale.size, cache=self.cache, progress=False)

    def config(self, training: TrainingSpec) -> TrainConfig:
        """Returns the options of a training; ``out`` is the run's folder."""
        left_out: dict[str, Any] = {
            f"{name}_weight": 0.0
            for name in ("compactness", "separateness")
            if PRESETS[training.preset].model.memory and not getattr(training, name)
        }
        config = TrainConfig(
            data=self.path(training.dataset),
            out=self.folder,
            preset=training.preset,
            size=self.scale.size,
            width=self.scale.width,
            epochs=self.scale.epochs[training.dataset],
            batch_size=training.batch_size,
            learning_rate=self.scale.learning_rate,
            supervision_weight=1.0 if training.supervised else 0.0,
            seed=training.seed,
            stride=self.scale.stride,
            keep_every=self.scale.keep_every,
            **self.of_every_training,
            **left_out,
        )
        return replace(config, out=self.folder / (training.folder or f"runs/{_name(training, config)}"))

    @property
    def of_every_training(self) -> dict[str, Any]:
        """The options of :class:`mnad.training.TrainConfig` that all trainings share."""
        return {
            "accelerator": self.accelerator,
            "precision": self.precision,
            "compile": self.compile,
            "cuda_graphs": self.cuda_graphs,
            "device_cache": self.device_cache,
            "cache": self.cache,
            "resume": True,
        }

    def is_trained(self, training: TrainingSpec) -> bool:
        """Returns whether the last epoch is done."""
        return self._is_finished(self.config(training))

    def _is_finished(self, config: TrainConfig) -> bool:
        if config.out not in self._finished:  # a checkpoint is not read again for each measurement
            try:
                if epochs_done(config.out) != config.epochs:
                    return False
            except CheckpointError:
                return False
            self._finished.add(config.out)
        return True

    def trained(self, training: TrainingSpec, *, wait: bool = True) -> Path | None:
        """Trains a run unless it has been; one that was stopped goes on.

        Returns:
            The run's folder; None where another process is at it and this one would not ``wait``.

        Raises:
            Interrupted: If it was stopped, by a signal or in time for the deadline, and its checkpoint is kept.
            TimeUpError: If the time was up before training could stop by itself. It is an Interrupted, too.
        """
        return self.train_once(self.config(training), str(training), wait=wait)

    def train_once(self, config: TrainConfig, name: str, *, wait: bool = True) -> Path | None:
        """Trains by some options unless that has been done, see :meth:`trained`.

        Args:
            config: The options; ``out`` is the run's folder.
            name: For people.
            wait: Whether to wait where another process is at it.
        """
        if self._is_finished(config):
            return config.out
        with self._in_time("training"), alone(config.out, wait=wait) as mine:
            if not mine:
                return None
            if not self._is_finished(config):
                print_line(f"training: {name}")
                with atomic_write(config.out / "run.json") as temporary:
                    temporary.write_text(json.dumps(training_options(config) | {"run": name}, indent=2) + "\n")
                train(config)
        return config.out

    def folder_of(self, training: TrainingSpec) -> Path:
        """Returns the folder of a run once it is trained."""
        folder = self.trained(training)
        assert folder is not None
        return folder

    def measured(self, spec: MeasurementSpec) -> Measurements:
        """Measures the test frames by a run, or by its checkpoint of an earlier epoch, unless that has been done.

        Raises:
            Interrupted: If training was stopped, see :meth:`trained`.
            TimeUpError: If the time is up for measuring; nothing is written of it then.
        """
        folder = self.folder_of(spec.training)
        out = self.measurements_file(spec)
        if not self.is_measured(spec):
            with self._in_time("scoring"), alone(out):
                if not self.is_measured(spec):
                    print_line(f"measuring: {spec}")
                    self._measure(spec, checkpoint_of(folder, self._epoch(spec)), out)
        return load_measurements(out)

    def is_measured(self, spec: MeasurementSpec) -> bool:
        """Returns whether the measurements are there, with their maps if the spec wants them."""
        file = self.measurements_file(spec)
        return file.is_file() and (not spec.maps or maps_beside(file).is_file())

    def measurements_file(self, spec: MeasurementSpec) -> Path:
        """Returns the file of a measurement, whether it is there or not."""
        replaced = "" if spec.probe is None else f"-{spec.probe.key}"
        name = f"{self._update(spec)}-{self._epoch(spec):03d}{replaced}.npz"
        return self.config(spec.training).out / "measured" / name

    def _measure(self, spec: MeasurementSpec, checkpoint: Path, out: Path) -> None:
        dataset = spec.training.dataset
        if spec.probe is not None:
            model = probed(load_checkpoint(checkpoint).build_model().to(self.device()), spec.probe)
            save_measurements(out, measure(model, self.clips(dataset), update="none"))
            return
        score(
            ScoreConfig(
                checkpoint,
                self.path(dataset),
                out=out,
                update=self._update(spec),
                maps=spec.maps,
                accelerator=self.accelerator,
                cache=self.cache,
            )
        )

    def _update(self, spec: MeasurementSpec) -> UpdateScope:
        memory = PRESETS[spec.training.preset].model.memory is not None
        return spec.update if memory and spec.probe is None else "none"

    def _epoch(self, spec: MeasurementSpec) -> int:
        return self.scale.epochs[spec.training.dataset] if spec.epoch is None else spec.epoch

    def _in_time(self, phase: Literal["training", "scoring"]) -> AbstractContextManager[None]:
        if self.deadline is None:
            return nullcontext()
        return self.deadline.training() if phase == "training" else self.deadline.scoring()

    def health(self, training: TrainingSpec) -> MemoryHealth | None:
        """Returns the health of a run's memory in its last epoch; None without a memory."""
        return logged_health(read_curves(self.folder_of(training))[-1])

    def epochs_kept(self, training: TrainingSpec) -> list[int]:
        """Returns the epochs whose checkpoints a search measures."""
        last, every = self.scale.epochs[training.dataset], self.scale.keep_every
        return sorted({*range(every, last + 1, every), last})

    def device(self) -> torch.device:
        """Returns the device that runs are measured on."""
        return choose_device(self.accelerator)

    def model(self, training: TrainingSpec) -> Autoencoder:
        """Returns the model of a run, in evaluation mode, on the device."""
        return load_checkpoint(self.folder_of(training)).build_model().to(self.device()).eval()


def checkpoint_of(folder: Path, epoch: int) -> Path:
    """Returns the checkpoint of an epoch, among those that were kept or the last."""
    kept = folder / "checkpoints" / f"epoch-{epoch:03d}.safetensors"
    return kept if kept.is_file() else checkpoint_file(folder)


def training_seconds(folder: Path) -> float:
    """Returns the seconds that the epochs of a run took, wherever it was stopped and gone on with."""
    checkpoint: Checkpoint = load_checkpoint(folder)
    samples = checkpoint.step / checkpoint.epoch * checkpoint.training["batch_size"]
    seconds: float = sum(samples / row["samples_per_second"] for row in read_curves(folder))
    return seconds


def _name(training: TrainingSpec, config: TrainConfig) -> str:
    what = {name: value for name, value in training_options(config).items() if name not in FREE_TO_CHANGE}
    key = json.dumps(what | {"data": str(absolute(config.data))}, sort_keys=True)
    return f"{training.dataset}-{training.preset}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
