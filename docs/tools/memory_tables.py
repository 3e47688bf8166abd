"""What other memories than the published one would do to the scores, as recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean, stdev
from typing import Any

from mnad.reproduction.strangers import LAMBDAS, left_out_rows
from recorded import load, percent, source, table

FILE = "docs/results/memory.json"
REFITTED = {"published, 10 items fitted anew": "refitted 10: ", "published, 50 items fitted anew": "refitted 50: "}

Row = dict[str, Any]


def aucs() -> str:
    """D alone, P alone and both, mean of the scenes."""
    body = []
    for name, prefix, rows in _memories():
        chosen = _chosen_weights(prefix, rows)
        body.append(
            [
                name,
                _over_seeds(rows, lambda row, prefix=prefix: row[f"{prefix}0"]),
                _over_seeds(rows, lambda row: row["1"]),
                _over_seeds(rows, lambda row, prefix=prefix, chosen=chosen: row[prefix + chosen[row["scene"]]]),
            ]
        )
    return table(["memory", "D alone", "P alone", "both"], body)


def scenes() -> str:
    """D alone and both in each scene."""
    names = list(dict.fromkeys(row["scene"] for row in _rows()))
    body = []
    for name, prefix, rows in _memories():
        chosen = _chosen_weights(prefix, rows)
        cells = []
        for scene in names:
            own = [row for row in rows if row["scene"] == scene]
            alone, both = (mean(row[prefix + weight] for row in own) for weight in ("0", chosen[scene]))
            cells.append(f"{percent(alone)}, {percent(both)} ({chosen[scene]})")
        body.append([name, *cells])
    return table(["D alone, both (lambda)", *names], body)


def health() -> str:
    """Whether the items hold anything, mean of scenes and seeds."""
    columns = {"items in use": ".1f", "perplexity": ".1f", "positional share": ".2f", "H(item | position)": ".2f"}
    lost = "psnr lost by an empty readout"
    body = []
    for name, prefix, rows in _memories():
        cells = [f"{mean(row[prefix + column] for row in rows):{digits}}" for column, digits in columns.items()]
        empty = "" if prefix else f"{mean(row[lost] for row in rows):.2f} dB"
        body.append([name, *cells, f"{mean(row['psnr'] for row in rows):.1f} dB", empty])
    head = [column.replace("|", "given") for column in columns]  # a bar would begin another cell
    return table(["memory", *head, "PSNR", "lost by an empty readout"], body)


def provenance() -> str:
    """Where these come from, and how the models were trained."""
    found = load(FILE)
    model = found["model"]
    seeds = len({row["seed"] for row in found["rows"]})
    return (
        f"{source(FILE, found)}\n\nPrediction, {model['size']} x {model['size']} pixels, width {model['width']}, about "
        f"{model['windows']:,} windows each, {seeds} seeds.\n{{ .source }}"
    )


def _rows() -> list[Row]:
    rows: list[Row] = load(FILE)["rows"]
    return rows


def _memories() -> list[tuple[str, str, list[Row]]]:
    """Returns each memory: its name, what its columns begin with, and its rows."""
    rows = _rows()
    by_variant = {row["variant"]: [each for each in rows if each["variant"] == row["variant"]] for row in rows}
    refitted = [(name, prefix, by_variant["published"]) for name, prefix in REFITTED.items()]
    return [
        ("published", "", by_variant.pop("published")),
        *refitted,
        *((name, "", own) for name, own in by_variant.items()),
    ]


def _chosen_weights(prefix: str, rows: Sequence[Row]) -> dict[str, str]:
    """Returns for each scene the lambda that is best on average in the other scenes."""
    of_scenes = {
        scene: {
            weight: {"AUC": mean(row[prefix + weight] for row in rows if row["scene"] == scene)} for weight in LAMBDAS
        }
        for scene in dict.fromkeys(row["scene"] for row in rows)
    }
    return {row["scene"]: row["chosen"] for row in left_out_rows("both", of_scenes)}


def _over_seeds(rows: Sequence[Row], value: Callable[[Row], float]) -> str:
    """Returns the mean over the scenes: its mean and standard deviation over the seeds."""
    of_seeds = [
        mean(value(row) for row in rows if row["seed"] == seed) for seed in sorted({row["seed"] for row in rows})
    ]
    return f"{mean(of_seeds):.1f} ± {stdev(of_seeds):.1f}"


TABLES = {
    "memory-aucs": aucs,
    "memory-scenes": scenes,
    "memory-health": health,
    "memory-provenance": provenance,
}
