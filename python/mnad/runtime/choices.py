"""Options that take one of a few names, checked by their types."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mnad.runtime.errors import ConfigError


def check_choices(config: Any) -> None:
    """Makes sure that each name in a dataclass is one of those that the type of its field, a Literal, allows.

    Raises:
        ConfigError: If one is not.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Colours:
        ...     background: Literal["black", "white"] | None = None
        ...     brightness: float | Literal["as it is"] = 1
        >>> check_choices(Colours("grey"))
        Traceback (most recent call last):
        ...
        mnad.runtime.errors.ConfigError: background must be one of black, white, got 'grey'
    """
    types = get_type_hints(type(config))
    for field in fields(config):
        check_choice(field.name, getattr(config, field.name), types[field.name])


def check_choice(name: str, value: Any, kind: Any) -> None:
    """Makes sure that an option, or each of several, is one of the names that its type allows.

    Args:
        name: What the option is called.
        value: What was given.
        kind: A Literal, a union with some, or a tuple of one; every value fits any other type.

    Raises:
        ConfigError: If the value, or one of several, is none of them.
    """
    kinds = (kind, *get_args(kind))
    kinds += (int,) if float in kinds else ()  # as every type checker has it
    choices = [choice for each in kinds if get_origin(each) is Literal for choice in get_args(each)]
    if not choices:
        return
    types = tuple(each for each in kinds if isinstance(each, type) and get_origin(each) is None)
    for each in value if isinstance(value, tuple) else (value,):
        if each not in choices and not isinstance(each, types):
            raise ConfigError(f"{name} must be one of {', '.join(map(str, choices))}, got {each!r}")
