"""What Python 3.10 refuses, though neither ruff nor mypy says so. Tests run on a later one."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(file for folder in ("python", "mnad_ext", "build_tools") for file in (ROOT / folder).rglob("*.py"))


def refused(source: str) -> list[str]:
    """Returns the classes that 3.10 refuses.

    These are generic NamedTuples, and dataclasses with a KW_ONLY, which ``typing.get_type_hints`` fails on.
    """
    found = []
    for node in (each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.ClassDef)):
        bases = {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
        hints = {ast.unparse(each.annotation).split(".")[-1] for each in node.body if isinstance(each, ast.AnnAssign)}
        if {"NamedTuple", "Generic"} <= bases or "KW_ONLY" in hints:
            found.append(node.name)
    return found


def test_they_are_found() -> None:
    source = """
class A(NamedTuple, typing.Generic[T]): pass
class B(NamedTuple): pass
class C:
    one: int
    _: dataclasses.KW_ONLY
"""
    assert refused(source) == ["A", "C"]


def test_there_are_none() -> None:
    assert len(FILES) > 200
    assert [str(file) for file in FILES if refused(file.read_text())] == []
