"""Pictures of one run's memory, in the run's folder: where queries and items lie, and how the items are used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mnad.analysis import Queries, embed_pca, embed_tsne, sample_queries, usage_of
from mnad.analysis.embedding import PERPLEXITY
from mnad.analysis.usage import PATCHES
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.curves import read_curves
from mnad.artifacts.measurements import load_measurements
from mnad.data.options import DataOptions
from mnad.evaluation.checks import check_same_frames, check_same_model
from mnad.pipeline.model_clips import open_as_trained
from mnad.report.embedding_plot import draw_embeddings
from mnad.report.usage_plot import draw_usage
from mnad.runtime.devices import choose_device
from mnad.runtime.errors import ConfigError
from mnad.runtime.files import atomic_write
from mnad.runtime.places import Place


@dataclass(frozen=True)
class PlotsConfig(DataOptions):
    """Options of the pictures.

    Attributes:
        run: A run's folder, trained and scored.
        data: The data set that it was scored on, in any known layout, or a clip store.
        frames: Test frames that queries are drawn from.
        queries: Queries of each frame in the plane.
        seed: Repeats the choice of frames and queries, and the embedding.
    """

    run: Path
    data: Place
    frames: int = 100
    queries: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("frames", "queries"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")


def draw_run_plots(config: PlotsConfig) -> list[Path]:
    """Draws ``plots/embedding.png`` and ``plots/usage.png`` of a run, each with its caption in a .txt file.

    Returns:
        The pictures, which ``mnad report`` shows.

    Raises:
        CheckpointError: If there is no usable checkpoint.
        ConfigError: If the model has no memory, or too few queries are asked for.
        DataError: If curves, measurements or data are not as they should be.
        OutputError: If a picture cannot be written.
    """
    checkpoint = load_checkpoint(config.run)
    model = checkpoint.build_model().to(choose_device("auto"))
    measurements = load_measurements(config.run)
    curves = [] if checkpoint.optimizer is None else read_curves(config.run)  # it was trained elsewhere
    check_same_model(measurements, checkpoint.describe(), f"the checkpoint in {config.run}")
    clips = open_as_trained(checkpoint, config.data, "testing", config, progress=False)
    check_same_frames(measurements, clips)
    few = sample_queries(model, clips, config.frames, config.queries, config.seed)
    every = sample_queries(model, clips, config.frames, checkpoint.training["size"] ** 2, config.seed)
    embedding, usage = (config.run / "plots" / f"{name}.png" for name in ("embedding", "usage"))
    draw_embeddings(embedding, {config.run.name: [embed_tsne(few, seed=config.seed), embed_pca(few)]})
    _caption(embedding, embedding_caption(few, config.seed))
    draw_usage(usage, {config.run.name: usage_of(measurements, curves, every, clips)})
    _caption(usage, usage_caption(every.frames))
    return [embedding, usage]


def embedding_caption(queries: Queries, seed: int) -> str:
    """Returns the caption of queries in the plane."""
    return (
        f"{len(queries):,} queries of {queries.frames} test frames (seed {seed}), coloured by their nearest item; "
        f"stars are the items. t-SNE (perplexity {PERPLEXITY:g}) keeps neighbours together, its distances between "
        "groups mean little; in PCA distances mean what they say."
    )


def usage_caption(frames: int) -> str:
    """Returns the caption of the items' use."""
    return (
        "Each item's share of the queries of the test frames (normal and abnormal), of the training frames epoch by "
        f"epoch, and the {PATCHES} places among {frames} test frames whose queries are nearest to it, one of a frame, "
        "the closest first."
    )


def _caption(picture: Path, text: str) -> None:
    with atomic_write(picture.with_suffix(".txt")) as temporary:
        temporary.write_text(text + "\n")
