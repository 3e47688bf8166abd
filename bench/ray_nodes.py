"""How scoring on a Ray cluster grows: one and two nodes of one processor each, on this machine.

    python bench/ray_nodes.py --clip CLIP.mp4 --out bench/results/ray-nodes-NAME.json

Videos of 2 s are scored by the small model of weights/, with the test-time update per video. What a video costs is the
slope between a job of few and one of many, so that the start of workers does not count. The driver alone is measured
with workers that do nothing, and decoding with a clip of a real camera.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the run in this process; Ray gives each worker its own
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # stay on the loopback interface

import ray
import torch
from mnad.artifacts.checkpoint import load_checkpoint
from mnad.artifacts.video_results import VideoResults
from mnad.cluster.connection import connected
from mnad.cluster.fleet import About, Fleet
from mnad.data.preparation import PrepareConfig, prepare
from mnad.pipeline import score_videos
from mnad.pipeline.score import ScoreConfig
from mnad.pipeline.video_scorer import ScoredVideo
from mnad.pipeline.video_tasks import VideoTask, find_videos, tasks_of
from mnad.runtime.files import atomic_write
from mnad.runtime.provenance import device_name, source_commit
from mnad.runtime.version import __version__
from ray.cluster_utils import Cluster

RUN = Path(__file__).parents[1] / "weights" / "mnad_weights" / "ped2-small"
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 100_000_000}
FRAMES, SOURCE_SIZE, RATE = 50, 64, 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path, required=True, help="of a real camera, for the speed of decoding")
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=500)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in (options.few, options.many):
            write_videos(folder / str(count), count)
        rows = [score(folder, count, nodes) for nodes in (1, 2) for count in (options.few, options.many)]
        content = {
            "command": f"python {' '.join(sys.argv)}",
            "commit": source_commit(),
            "date": datetime.now(timezone.utc).isoformat(),
            "device": device_name(torch.device("cpu")),
            "ray": ray.__version__,
            "torch": torch.__version__,
            "video": {"frames": FRAMES, "size": SOURCE_SIZE, "fps": RATE},
            "rows": rows,
            "driver": driver_alone(folder, options.many),
            "decoding": decoding(options.clip, folder),
        }
    with atomic_write(options.out) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def write_videos(folder: Path, count: int) -> None:
    """Writes videos of noise that drifts."""
    folder.mkdir()
    for number in range(count):
        source = f"testsrc2=size={SOURCE_SIZE}x{SOURCE_SIZE}:rate={RATE}:duration={FRAMES / RATE},hue=h={number}"
        encode(source, folder / f"{number:04d}.mp4")


def encode(source: str, file: Path) -> None:
    """Writes a picture that FFmpeg makes; PyAV brings FFmpeg's filters along."""
    import av
    import av.filter

    graph = av.filter.Graph()
    first, *others = source.split(",")
    name, _, arguments = first.partition("=")
    chain = [graph.add(name, arguments), *(graph.add(*each.split("=", 1)) for each in others), graph.add("buffersink")]
    for one, other in pairwise(chain):
        one.link_to(other)
    graph.configure()
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width = stream.height = SOURCE_SIZE
        stream.pix_fmt = "yuv420p"
        for _ in range(FRAMES):
            container.mux(stream.encode(graph.pull().reformat(format="yuv420p")))
        container.mux(stream.encode(None))


@contextmanager
def cluster_of(nodes: int) -> Iterator[str]:
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**NODE)
        yield cluster.address
    finally:
        cluster.shutdown()


def score(folder: Path, count: int, nodes: int) -> dict[str, Any]:
    """Scores so many videos, one at a time on each worker, so that decoding and the network are told apart."""
    score_videos.IN_FLIGHT = 1
    out = folder / f"{nodes}-{count}" / "all.npz"
    with cluster_of(nodes) as address:
        config = ScoreConfig(RUN, folder / str(count), out=out, update="per-video", engine="ray", address=address)
        before, own = time.perf_counter(), time.process_time()
        with largest_workers() as workers:
            summary = score_videos.score_videos(config)
        took, driver = time.perf_counter() - before, time.process_time() - own
    frames = count * (FRAMES - 4)
    print(f"{nodes} nodes, {count} videos: {took:.1f} s, {frames / took:.0f} frames/s")
    files = list(summary.folder.glob("*.npz"))
    return {
        "nodes": nodes,
        "videos": count,
        "frames": frames,
        "seconds": round(took, 2),
        "decoding": round(summary.decoding, 2),
        "computing": round(summary.computing, 2),
        "driver_processor_seconds": round(driver, 2),
        "largest_worker_mb": max(workers, default=0),
        "result_bytes": sum(file.stat().st_size for file in files) // len(files),
    }


@contextmanager
def largest_workers() -> Iterator[list[int]]:
    """Yields a list of the most memory that each worker has held, in MB, filled when the block ends."""
    found: list[int] = []
    watched = subprocess.Popen(
        [sys.executable, "-c", WATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # workers are gone when the block ends
    try:
        yield found
    finally:
        assert watched.stdin is not None
        watched.stdin.close()
        assert watched.stdout is not None
        found.extend(map(int, watched.stdout.read().split()))
        watched.wait()


WATCH = """
import select, sys, re
from pathlib import Path
most = {}
while not select.select([sys.stdin], [], [], 0.5)[0]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if "VideoScorer" in (process / "cmdline").read_text():
                most[process.name] = int(re.search(r"VmHWM:\\s*(\\d+)", (process / "status").read_text())[1]) // 1024
        except (OSError, TypeError):
            pass
print(*most.values())
"""


class NullScorer:
    """Gives what it was made with for each video."""

    def __init__(self, found: ScoredVideo) -> None:
        self.found = found

    def about(self) -> About:
        return About(__version__, torch.__version__, "here", "nothing")

    def run(self, task: VideoTask) -> ScoredVideo:
        return self.found


def driver_alone(folder: Path, count: int) -> dict[str, float]:
    """Has workers that do nothing give results, which are stored."""
    config = ScoreConfig(RUN, folder / str(count), update="per-video", engine="ray")
    checkpoint = load_checkpoint(RUN)
    began = time.perf_counter()
    tasks = tasks_of(config, checkpoint, find_videos(config))
    listed = time.perf_counter() - began
    content = next((folder / f"1-{count}").rglob("*.videos/*.npz")).read_bytes()
    found = ScoredVideo(content, FRAMES, RATE, (), 0, 0)
    results = VideoResults(folder / "null.videos")
    book = score_videos.Book(results, score_videos.Summary(None, results.folder, len(tasks)))
    with cluster_of(2) as address, connected(address) as module:
        fleet: Fleet[VideoTask, ScoredVideo] = Fleet(module, NullScorer, (found,), accelerator="cpu", in_flight=2)
        times = []
        for done in fleet.run([replace(task) for task in tasks]):
            book.take(done)
            times.append(time.perf_counter())
    shutil.rmtree(results.folder)
    return {
        "videos": count,
        "seconds_to_list_a_video": round(listed / count, 6),
        "seconds_of_a_video": round((times[-1] - times[0]) / (count - 1), 6),
    }


def decoding(clip: Path, folder: Path) -> dict[str, Any]:
    """Decodes a clip as a worker does, to frames of the model's size."""
    size = load_checkpoint(RUN).training["size"]
    began = time.perf_counter()
    store = prepare(PrepareConfig(clip, folder / "clip", size, workers=1), ["testing"], progress=False)
    took = time.perf_counter() - began
    (video,) = store.splits["testing"].videos
    return {
        **{name: value for name, value in asdict(video).items() if name in ("frames", "width", "height", "rate")},
        "bytes": clip.stat().st_size,
        "seconds": round(took, 2),
        "threads": os.cpu_count(),
    }


if __name__ == "__main__":
    main()
