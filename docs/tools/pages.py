"""What a Markdown page holds: its fenced code blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1]
FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, its text without the fence's indentation, and its first line in the page."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(
            found[2], re.sub(f"^{found[1]}", "", found[3], flags=re.MULTILINE), text[: found.start(3)].count("\n") + 1
        )
        for found in FENCE.finditer(text)
    ]


def commands(block: Block) -> list[list[str]]:
    """Returns the arguments of every call of ``mnad`` in a shell block; lines that end in a backslash go on."""
    lines = block.text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[line.index("mnad") + 1 :] for line in words if "mnad" in line]
