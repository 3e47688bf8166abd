"""From the address of a sink to the sink."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from mnad.runtime.errors import ConfigError
from mnad.watching.addresses import host_of, split_url
from mnad.watching.sinks.base import Sink
from mnad.watching.sinks.lines import JsonLines

LINES = "lines"
SCHEMES = ("mqtt", "mqtts", "http", "https")


def check_sink(address: str) -> str:
    """Returns the address of a sink.

    Raises:
        ConfigError: If it is none.
    """
    parts = split_url(address)
    if parts.scheme.startswith("mqtt") and set("+#") & set(parts.path):
        raise ConfigError("the path of an MQTT address begins all topics, so it cannot hold + or #")
    if parts.scheme not in SCHEMES or not parts.hostname:
        given = host_of(address) if "://" in address else "an address without ://"
        raise ConfigError(
            f"the address of a sink must begin with {'://, '.join(SCHEMES)}:// and name a host, got {given}"
        )
    return address


def open_sink(address: str, events: Path) -> Sink:
    """Opens a sink.

    Args:
        address: ``lines``, or a URL that :func:`check_sink` takes.
        events: The folder of clips and pictures.

    Raises:
        ConfigError: If the library that it needs is not installed.
    """
    if address == LINES:
        return JsonLines()
    try:
        if urlsplit(address).scheme.startswith("mqtt"):
            from mnad.watching.sinks.mqtt import Mqtt

            return Mqtt(address, events)
        from mnad.watching.sinks.webhook import Webhook

        return Webhook(address)
    except ModuleNotFoundError as error:
        raise ConfigError(f"this sink needs {error.name}: pip install 'mnad-ext[watch]'") from None
