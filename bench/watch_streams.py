"""How many cameras one machine keeps up with: MJPEG cameras on the loopback address, watched by mnad watch itself.

    python bench/watch_streams.py --out bench/results/watching-NAME.json

Each camera gives 10 frames a second of 128 x 128 pixels; the network has width 16, as that of the documentation's small
runs. The cameras are one process beside the watching one, on the same cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import httpx
import torch
from mnad.data import SyntheticSpec, write_synthetic
from mnad.pipeline.calibrate import CalibrateConfig, calibrate
from mnad.runtime.files import atomic_write
from mnad.runtime.provenance import device_name, source_commit
from mnad.training import TrainConfig, train

FPS, SIZE, WIDTH = 10, 128, 16
COUNTS = (1, 2, 4, 8, 12, 16)
WAYS = ("torch/32-true", "torch/bf16", "openvino/32-true", "onnxruntime/32-true")
WARM_UP, MEASURED = 10.0, 30.0
PORT, PAGE = 18720, 18721


def serve(folder: Path, port: int) -> None:
    """Serves the pictures of a folder as MJPEG, over and over, to as many as ask."""
    parts = [
        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(picture), picture)
        for picture in (bytes(cv2.imencode(".jpg", cv2.imread(str(path)))[1]) for path in sorted(folder.iterdir()))
    ]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            began, sent = time.monotonic(), 0
            with suppress(OSError):
                while True:
                    self.wfile.write(parts[sent % len(parts)])
                    sent += 1
                    time.sleep(max(0.0, began + sent / FPS - time.monotonic()))

        def log_message(self, *_: Any) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def prepare(folder: Path) -> tuple[Path, Path]:
    """Makes video and a calibrated model; how good it is does not matter to its speed."""
    data, run = folder / "data", folder / "run"
    write_synthetic(data, SyntheticSpec(size=SIZE, train_videos=1, test_videos=1, frames=60))
    train(TrainConfig(data, run, size=SIZE, width=WIDTH, epochs=1, hold_out=0.5))
    calibrate(CalibrateConfig(run, data, fps=FPS))
    return run, min((data / "testing" / "frames").iterdir())


@contextmanager
def watched(run: Path, count: int, out: Path, way: str, *, health: bool) -> Iterator[str]:
    """Watches so many cameras, and yields the address of the page."""
    sources = [f"--source=camera{index}=http://127.0.0.1:{PORT}/" for index in range(count)]
    runtime, precision = way.split("/")
    options = [f"--page=127.0.0.1:{PAGE}", f"--out={out}", "--threshold=1e9"]
    options += [f"--runtime={runtime}", f"--precision={precision}"]
    command = [sys.executable, "-m", "mnad.cli", "watch", str(run), *sources, *options]
    process = subprocess.Popen(
        [*command, "--health" if health else "--no-health"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{PAGE}/api/streams"
    finally:
        process.terminate()
        process.wait()


def measure(run: Path, count: int, out: Path, way: str) -> dict[str, Any]:
    """Measures so many cameras for a while, once they all run."""
    with watched(run, count, out, way, health=True) as url:
        while not _all_run(url):
            time.sleep(0.5)
        time.sleep(WARM_UP)
        before = _streams(url)
        time.sleep(MEASURED)
        after = _streams(url)
    scored, dropped = (
        sum(each["frames"][what] for each in after) - sum(each["frames"][what] for each in before)
        for what in ("scored", "dropped")
    )
    found = {"streams": count, "way": way, "scored_a_second": round(scored / MEASURED, 1)}
    found["dropped_share"] = round(dropped / (scored + dropped), 4)
    for quantile in ("p50", "p95", "p99"):
        found[f"{quantile}_ms"] = round(1000 * max(each["latency"][quantile] for each in after), 1)
    return found


def _streams(url: str) -> list[dict[str, Any]]:
    return list(httpx.get(url, timeout=30).json()["streams"])


def _all_run(url: str) -> bool:
    try:
        return all(each["frames"]["scored"] for each in _streams(url))
    except httpx.ConnectError:
        return False


def main() -> None:
    """Measures, prints and writes what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="The JSON file that is written.")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="How many cameras, one after the other.")
    parser.add_argument("--ways", nargs="+", default=WAYS, help="Runtime and precision of the network.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, frames = prepare(Path(folder))
        cameras = multiprocessing.Process(target=serve, args=(frames, PORT), daemon=True)
        cameras.start()
        rows = []
        for way in options.ways:
            for count in options.counts:
                rows.append(measure(run, count, Path(folder) / f"{way.replace('/', '-')}-{count}", way))
                print(rows[-1], flush=True)
        cameras.terminate()
    result = {
        "command": f"python bench/watch_streams.py {' '.join(sys.argv[1:])}",
        "commit": source_commit(),
        "date": datetime.now(timezone.utc).isoformat(),
        "device": device_name(torch.device("cpu")),
        "torch": torch.__version__,
        "frames": f"{SIZE} x {SIZE}, {FPS} a second",
        "width": WIDTH,
        "latency": "from a frame's arrival to its score, the worst stream's",
        "seconds": MEASURED,
        "rows": rows,
    }
    with atomic_write(options.out) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
