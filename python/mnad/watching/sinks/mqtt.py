"""MQTT, with Home Assistant discovery: each stream is a device that says when something is abnormal, and how it is."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from mnad.runtime.errors import ConfigError
from mnad.runtime.version import __version__
from mnad.watching.history import Notice
from mnad.watching.sinks.base import SinkError

PORTS = {"mqtt": 1883, "mqtts": 8883}
PREFIX, DISCOVERY = "mnad", "homeassistant"
CONNECT, PUBLISH, DRAWN = 5.0, 10.0, 2.0  # seconds that these may take
ONLINE, OFFLINE = "online", "offline"


class Mqtt:
    """Publishes to a broker.

    Topics, below a prefix: ``status`` (online or offline, the broker says so by itself if the process dies),
    ``STREAM/event`` (each notice of an event as JSON), ``STREAM/abnormal`` (ON while an event goes on, OFF),
    ``STREAM/health`` (well, or what is wrong) and ``STREAM/picture`` (JPEG of the last event). All but the events are
    retained.

    Args:
        address: ``mqtt://`` or ``mqtts://``, user and password, host, port, and the prefix of topics as its path.
        events: The folder of events, for pictures.

    Raises:
        ConfigError: If the address is not complete.
    """

    def __init__(self, address: str, events: Path) -> None:
        parts = urlsplit(address)
        if not parts.hostname:
            raise ConfigError("an MQTT address must name a host, as mqtt://user:password@host:1883/mnad")
        self.prefix, self.events = parts.path.strip("/") or PREFIX, events
        self._announced: set[str] = set()
        self._notice, self._sent = "", dict[str, mqtt.MQTTMessageInfo]()  # of the last notice, by topic
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="", clean_session=True)
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.will_set(self._topic("status"), OFFLINE, qos=1, retain=True)
        self._client.on_connect = self._connected
        self._refused = ""
        self._client.connect_async(parts.hostname, parts.port or PORTS[parts.scheme])
        self._client.reconnect_delay_set(1, 30)
        self._client.loop_start()

    def tell(self, notice: Notice) -> None:
        """Publishes a notice.

        Raises:
            SinkError: If the broker has not taken it.
        """
        content = notice.content
        stream = content["stream"]
        if notice.key != self._notice:
            self._notice, self._sent = notice.key, {}
        if stream not in self._announced:
            self._announced.add(stream)
            self._announce(stream)
        if content["kind"] == "health":
            self._publish(f"{stream}/health", content["condition"])
            return
        if (picture := self._picture(content["id"])) is not None:  # first: who is alarmed looks at it
            self._publish(f"{stream}/picture", picture)
        self._publish(f"{stream}/event", json.dumps({"key": notice.key, **content}), retain=False)
        self._publish(f"{stream}/abnormal", "ON" if content["kind"] == "began" else "OFF")

    def close(self) -> None:
        """Says that nobody watches any more, and ends the connection."""
        if self._client.is_connected():
            self._client.publish(self._topic("status"), OFFLINE, qos=1, retain=True).wait_for_publish(CONNECT)
        self._client.disconnect()
        self._client.loop_stop()

    def _picture(self, event: str) -> bytes | None:
        """Returns the picture of an event, which may still be drawn; None if it does not come, or was removed."""
        end = time.monotonic() + DRAWN
        while True:
            try:
                return (self.events / f"{event}.jpg").read_bytes()
            except OSError:
                if time.monotonic() > end:
                    return None
            time.sleep(DRAWN / 20)

    def _topic(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._refused = str(reason) if reason.is_failure else ""
        if reason.is_failure:
            return
        client.publish(self._topic("status"), ONLINE, qos=1, retain=True)
        for stream in tuple(self._announced):  # the broker may have forgotten
            self._announce(stream)

    def _announce(self, stream: str) -> None:
        for topic, config in self._discovery(stream):
            self._client.publish(topic, json.dumps(config), qos=1, retain=True)

    def _publish(self, name: str, payload: str | bytes, *, retain: bool = True) -> None:
        """Publishes, and waits until the broker has it; what is under way of this notice is not sent again."""
        if not self._client.is_connected():
            raise SinkError(self._refused or "the broker cannot be reached")
        if name not in self._sent:
            self._sent[name] = self._client.publish(self._topic(name), payload, qos=1, retain=retain)
        message = self._sent[name]
        if message.rc == mqtt.MQTT_ERR_NO_CONN:  # lost this moment: the client sends it once it is connected again
            message.rc = mqtt.MQTT_ERR_SUCCESS
        try:
            message.wait_for_publish(PUBLISH)
        except (RuntimeError, ValueError) as error:
            del self._sent[name]
            raise SinkError(str(error)) from None
        if not message.is_published():
            raise SinkError(f"the broker has not taken it within {PUBLISH:g} s")

    def _discovery(self, stream: str) -> list[tuple[str, dict[str, Any]]]:
        """Returns what tells Home Assistant of a stream."""
        unique = f"{self.prefix}_{stream}".replace("/", "_").replace(".", "_")
        shared = {
            "device": {
                "identifiers": [unique],
                "name": stream,
                "manufacturer": "mnad-ext",
                "model": "video anomaly detection",
                "sw_version": __version__,
            },
            "availability_topic": self._topic("status"),
        }
        entities: list[tuple[str, str, dict[str, Any]]] = [
            (
                "binary_sensor",
                "abnormal",
                {
                    "name": "Abnormal",
                    "state_topic": self._topic(f"{stream}/abnormal"),
                    "json_attributes_topic": self._topic(f"{stream}/event"),
                    "device_class": "safety",
                },
            ),
            (
                "sensor",
                "health",
                {
                    "name": "Health",
                    "state_topic": self._topic(f"{stream}/health"),
                    "entity_category": "diagnostic",
                    "icon": "mdi:camera-lock",
                },
            ),
            (
                "image",
                "picture",
                {"name": "Last event", "image_topic": self._topic(f"{stream}/picture"), "content_type": "image/jpeg"},
            ),
        ]
        return [
            (f"{DISCOVERY}/{kind}/{unique}/{name}/config", {**config, **shared, "unique_id": f"{unique}_{name}"})
            for kind, name, config in entities
        ]
