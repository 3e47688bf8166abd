"""What each choice of the protocol does to an AUC, as recorded on UCSD Ped2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnad.models.presets import PREDICTION
from recorded import load, percent, source, table

FILE = "docs/results/protocol-ped2.json"
REPRODUCED = "bench/results/reproduce-small-amd-epyc-2-cores.json"


def choices(part: str) -> str:
    """The AUC by each value of a choice."""
    rows: list[dict[str, Any]] = load(FILE)[part]
    head = [name.replace("auc", "AUC") for name in rows[0]]
    return table(head, [[_cell(name, value, row) for name, value in row.items()] for row in rows])


def _cell(name: str, value: Any, row: Mapping[str, Any]) -> str:
    if name.startswith("auc"):
        return f"{value:.1f} %"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "threshold of E_t" and row["update"] != "none":
        return f"{PREDICTION.update_threshold:g}, published" if value is None else f"{value:.4f}"
    return "" if value is None else f"{value}"


def pooling() -> str:
    """The two ways of pooling."""
    found = load(FILE)["pooling"]
    return table(list(found), [[f"{value:.1f} %" for value in found.values()]])


def provenance() -> str:
    """Where these come from, and how the model was trained."""
    found = load(FILE)
    training = found["training"]
    return (
        f"{source(FILE, found)}\n\nThe model: prediction, {training['size']} x {training['size']} pixels, width "
        f"{training['width']}, {training['epochs']} epochs of every second window, one seed: read "
        "differences of a point or two as noise."
    )


def searched() -> str:
    """What a search over lambda, epoch and batch size gains, chosen on the test set."""
    results = {result["name"]: result for result in load(REPRODUCED)}
    best = {row["model"]: row["ours, chosen on test"] for row in results["table5"]["rows"]}
    rows = [
        [row["model"], percent(row["ours"]), percent(row["best, lambda chosen on test"]), percent(best[row["model"]])]
        for row in results["table4"]["rows"]
    ]
    head = ["Ped2, AUC in %", "published lambda", "best lambda", "best lambda, epoch and batch size"]
    return f"{table(head, rows)}\n\n{source(REPRODUCED, results['table5']['provenance'])}"


TABLES = {"protocol": choices, "pooling": pooling, "protocol-provenance": provenance, "searched": searched}
