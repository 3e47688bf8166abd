"""Recorded results, and how tables of them are written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from pages import DOCS

ROOT = DOCS.parent
NOT_RECORDED = "no recorded run"
SMALL = "{ .source }"  # the class of the paragraph


def load(path: str) -> Any:
    """Reads a file of results by its path in the repository."""
    return json.loads((ROOT / path).read_text())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def source(path: str, stamp: dict[str, Any]) -> str:
    """Returns where the numbers of a table come from, a paragraph in small print."""
    told = [f"`{stamp['command']}`"] if "command" in stamp else []
    told += [f"at commit {stamp['commit'][:9]}", stamp["device"], f"torch {stamp['torch']}"]
    return f"`{path}`: {', '.join(told)}.\n{SMALL}"


def scale(stamp: dict[str, Any]) -> str:
    """Returns at what scale a reproduction was made, a paragraph in small print."""
    return f"{stamp['scale'].replace('SMALL SCALE', 'Small scale')}.\n{SMALL}"


def percent(value: float | None) -> str:
    """Returns a number of per cent, or nothing."""
    return "" if value is None else f"{value:.1f}"
