"""How scoring on a cluster grows: what was measured on two nodes, and what follows for many devices."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from recorded import load, source, table

RESULT = "bench/results/ray-nodes-amd-epyc-2-cores-avx512.json"
ARCHIVE_HOURS, VIDEO_MINUTES, FPS = 10_000, 10, 25
ASSUMED_GPU = 1000.0  # frames a second; no GPU was measured
DEVICES = (10, 100, 1000)


def _slopes(results: dict[str, Any]) -> dict[int, dict[str, float]]:
    """Returns for each number of nodes what a further video costs, in seconds, and the start."""
    found = {}
    for nodes, rows in groupby(results["rows"], key=lambda row: row["nodes"]):
        few, many = rows
        videos = many["videos"] - few["videos"]
        slope = {name: (many[name] - few[name]) / videos for name in ("seconds", "decoding", "computing")}
        start = few["seconds"] - few["videos"] * slope["seconds"]
        found[nodes] = {**slope, "start": start, "memory": many["largest_worker_mb"]}
    return found


def nodes() -> str:
    """What a video of two seconds costs on one node and on two."""
    results = load(RESULT)
    slopes = _slopes(results)
    frames = results["video"]["frames"] - 4
    rows = []
    for count, each in slopes.items():
        worked = each["decoding"] + each["computing"]
        other = 1 - worked / (count * each["seconds"])
        rows.append(
            [
                str(count),
                f"{frames / each['seconds']:.0f}",
                f"{slopes[1]['seconds'] / each['seconds']:.2f}x",
                f"{1000 * each['decoding']:.0f} ms",
                f"{1000 * each['computing']:.0f} ms",
                f"{1000 * (count * each['seconds'] - worked):.0f} ms, {other:.1%}",
                f"{each['start']:.1f} s",
                f"{each['memory']} MB",
            ]
        )
    head = [
        "nodes", "frames/s", "to one", "decoding a video", "network", "all else", "start", "a worker's memory",
    ]  # fmt: skip
    return f"{table(head, rows)}\n\n{source(RESULT, results)}"


def model() -> str:
    """What an archive needs of decoding, storage and driver, by the measured constants."""
    results = load(RESULT)
    core = (results["video"]["frames"] - 4) / _slopes(results)[1]["seconds"]
    clip, driver = results["decoding"], results["driver"]
    decoded = clip["frames"] / clip["seconds"] / clip["threads"]
    frame_bytes = clip["bytes"] / clip["frames"]
    a_video = driver["seconds_of_a_video"] + driver["seconds_to_list_a_video"]
    rows = []
    for name, speed in {"a processor core, measured": core, "a GPU, assumed": ASSUMED_GPU}.items():
        for count in DEVICES:
            total = count * speed
            videos = total / (VIDEO_MINUTES * 60 * FPS)
            cores = total / decoded
            rows.append(
                [
                    name,
                    f"{count:,}",
                    f"{total:,.0f}",
                    f"{ARCHIVE_HOURS * 3600 * FPS / total / 3600:,.1f} h",
                    f"{cores:,.1f}",
                    f"{total * frame_bytes / 1e6:,.0f} MB/s",
                    f"{videos * a_video:.2%}",
                ]
            )
    head = [
        "device", "devices", "frames/s", f"{ARCHIVE_HOURS:,} h take", "cores that decode", "videos read", "driver busy",
    ]  # fmt: skip
    return f"{table(head, rows)}\n\n{source(RESULT, results)}"


TABLES = {"cluster-nodes": nodes, "cluster-model": model}
