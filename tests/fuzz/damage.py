"""Damage as disks, networks and editors do it, repeatable by a seed."""

from __future__ import annotations

import random


def damaged(content: bytes, seed: int) -> bytes:
    """Cuts, changes, inserts or removes bytes, once or a few times."""
    chance = random.Random(seed)
    result = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        chance.choice((_cut, _change, _change_near_the_beginning, _flip, _insert, _remove, _repeat, _blank))(
            result, chance
        )
    return bytes(result)


def _place(content: bytearray, chance: random.Random) -> int:
    return chance.randrange(len(content) or 1)


def _cut(content: bytearray, chance: random.Random) -> None:
    del content[_place(content, chance) :]


def _change(content: bytearray, chance: random.Random) -> None:
    if content:
        content[_place(content, chance)] = chance.randrange(256)


def _change_near_the_beginning(content: bytearray, chance: random.Random) -> None:
    if content:
        content[chance.randrange(min(len(content), 128))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, ord("9"), ord('"')))


def _flip(content: bytearray, chance: random.Random) -> None:
    if content:
        content[_place(content, chance)] ^= 1 << chance.randrange(8)


def _insert(content: bytearray, chance: random.Random) -> None:
    at = _place(content, chance)
    content[at:at] = chance.randbytes(chance.choice((1, 2, 16)))


def _remove(content: bytearray, chance: random.Random) -> None:
    at = _place(content, chance)
    del content[at : at + chance.choice((1, 2, 16))]


def _repeat(content: bytearray, chance: random.Random) -> None:
    at = _place(content, chance)
    content[at:at] = content[at : at + chance.choice((1, 8, 64))]


def _blank(content: bytearray, chance: random.Random) -> None:
    at = _place(content, chance)
    end = min(len(content), at + chance.choice((4, 64, 700)))
    content[at:end] = bytes(end - at)
