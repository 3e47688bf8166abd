"""The metrics of all streams in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONDITIONS = ("well", "offline", "frozen", "black", "covered", "switched", "moved", "changed")


class _Streams(Collector):
    def __init__(self, streams: Iterable[Mapping[str, Any]], faulty: Mapping[str, bool]) -> None:
        self.streams, self.faulty = list(streams), faulty

    def collect(self) -> Iterator[Metric]:
        frames = CounterMetricFamily("mnad_frames", "Frames by what became of them.", labels=["stream", "what"])
        events = CounterMetricFamily("mnad_events", "Events that have begun.", labels=["stream"])
        held = CounterMetricFamily("mnad_events_held_back", "Events while a camera was unwell.", labels=["stream"])
        restarts = CounterMetricFamily("mnad_restarts", "How often a source was opened again.", labels=["stream"])
        gauges = {
            name: GaugeMetricFamily(f"mnad_{name}", text, labels=["stream"])
            for name, text in {
                "score": "The last score.",
                "threshold": "Above which a score is abnormal.",
                "rate": "Frames a second of the source.",
                "abnormal": "Whether an event goes on.",
            }.items()
        }
        health = GaugeMetricFamily(
            "mnad_health", "1 for the condition that a camera is in.", labels=["stream", "condition"]
        )
        latency = GaugeMetricFamily(
            "mnad_latency_seconds",
            "From a frame's arrival to its score, of the last 1,000.",
            labels=["stream", "quantile"],
        )
        for stream in self.streams:
            name = stream["name"]
            for what, count in {**stream["frames"], "unreadable": stream["unreadable"]}.items():
                frames.add_metric([name, what], count)
            events.add_metric([name], stream["events"])
            held.add_metric([name], stream["held_back"])
            restarts.add_metric([name], stream["restarts"])
            for gauge, family in gauges.items():
                if stream[gauge] is not None:
                    family.add_metric([name], float(stream[gauge]))
            for condition in CONDITIONS:
                health.add_metric([name, condition], float((stream["condition"] or "well") == condition))
            for quantile, value in stream["latency"].items():
                latency.add_metric([name, f"0.{quantile[1:]}".rstrip("0")], value)
        sinks = GaugeMetricFamily("mnad_sink_reached", "Whether a sink could be told the last time.", labels=["sink"])
        for sink, fault in self.faulty.items():
            sinks.add_metric([sink], float(not fault))
        yield from (frames, events, held, restarts, *gauges.values(), health, latency, sinks)


def metrics_text(streams: Iterable[Mapping[str, Any]], faulty: Mapping[str, bool]) -> bytes:
    """Returns the metrics.

    Args:
        streams: As :func:`mnad.watching.control.describe` describes them.
        faulty: Whether each sink could not be told the last time.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Streams(streams, faulty))
    return generate_latest(registry)
