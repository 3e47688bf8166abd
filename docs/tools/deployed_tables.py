"""What each score finds on scenes of real cameras, by the deployed protocol, as recorded."""

from __future__ import annotations

from statistics import mean
from typing import Any

from mnad.data.composed import EVENTS
from mnad.reproduction.strangers import headline_column
from recorded import load, percent, source, table

FILE = "bench/results/strangers-small-amd-epyc-2-cores.json"
COMPARED = ("published", "for cameras", "for cameras, P alone", "for cameras, relative")

Row = dict[str, Any]


def scores() -> str:
    """The AUC of each score in each scene."""
    by_scene = {(row["score"], row["scene"]): row for row in _rows()}
    names, scenes = (list(dict.fromkeys(key[part] for key in by_scene)) for part in (0, 1))
    return table(["score", *scenes], [[name, *(_auc(by_scene[name, scene]) for scene in scenes)] for name in names])


def _auc(row: Row) -> str:
    """Returns the AUC of the objects that are to be found, or of all frames where no events are composed."""
    name = headline_column(row)
    spread = row.get(f"{name}, sd")
    chosen = f" ({row['chosen']})" if "chosen" in row else ""
    return percent(row[name]) + (f" ± {spread:.1f}" if spread is not None else "") + chosen


def kinds() -> str:
    """What some scores find of each kind of event, on average over the scenes."""
    body = [[str(event), *(percent(mean(_known(name, str(event)))) for name in COMPARED)] for event in EVENTS]
    return table(["AUC, mean of the scenes", *COMPARED], body)


def found() -> str:
    """Events that are found, and false frames, by some scores in all scenes together."""
    body = []
    for name in COMPARED:
        events, normal = (sum(_known(name, column)) for column in ("events", "normal frames"))
        counts = [
            f"{sum(_known(name, 'found')):.1f} of {events:.0f}",
            f"{sum(_known(name, 'false')):.1f} of {normal:,.0f}",
        ]
        body.append([name, *counts, percent(mean(known)) if (known := _known(name, "pixel AUC")) else ""])
    return table(["score", "events found", "false frames", "pixel AUC, mean of the scenes"], body)


def _known(score: str, column: str) -> list[float]:
    """Returns the values of a column that a score has, one for each scene with composed events."""
    rows = [row for row in _rows() if row["score"] == score and "events" in row]
    return [row[column] for row in rows if row.get(column) is not None]


def provenance() -> str:
    """Where these come from, and how large the models are."""
    stamp = load(FILE)["provenance"]
    small = stamp["scale"].replace("small scale", "Small scale")
    return f"{source(FILE, stamp)}\n\n{small}, {stamp['precision']}, seeds {stamp['seeds']}.\n{{ .source }}"


def _rows() -> list[Row]:
    rows: list[Row] = load(FILE)["rows"]
    return rows


TABLES = {
    "deployed-scores": scores,
    "deployed-kinds": kinds,
    "deployed-found": found,
    "deployed-provenance": provenance,
}
