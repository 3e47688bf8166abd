"""What the recorded run of the tutorial found."""

from __future__ import annotations

from recorded import load, source, table

FILE = "docs/results/tutorial.json"


def auc() -> str:
    """The frame AUCs by both protocols."""
    kinds = {"spatial": "squares", "temporal": "fast circles", "spatio-temporal": "fast squares"}
    rows = []
    for protocol in ("published", "deployed"):
        found = load(FILE)[protocol]
        values = [found["auc"], *(found["auc_by_kind"][kind] for kind in kinds)]
        rows.append([protocol, *(f"{100 * value:.1f} %" for value in values)])
    return table(["protocol", "frame AUC", *kinds.values()], rows)


def alarms() -> str:
    """The alarms at the calibrated threshold."""
    found = load(FILE)["detection"]
    events, frames = f"{found['events_found']} of the {found['events']}", found["false_alarm_frames"]
    return (
        f"At the threshold for 600 frames an hour the recorded run found {events} labelled events, and {frames} of "
        f"{found['normal_frames']} normal frames were above it."
    )


def provenance() -> str:
    """Where these come from."""
    found = load(FILE)
    return f"{source(FILE, found)}\n\nIt took {found['seconds']} s, with `OMP_NUM_THREADS=1`."


TABLES = {"tutorial-auc": auc, "tutorial-alarms": alarms, "tutorial-provenance": provenance}
