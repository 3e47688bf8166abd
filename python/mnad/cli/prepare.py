"""``mnad prepare``."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mnad.cli.command import Command, build


def _add_options(parser: ArgumentParser) -> None:
    from mnad.data.preparation import PrepareConfig

    parser.add_argument("data", type=Path, help="The data set's folder, in any known layout.")
    parser.add_class_arguments(PrepareConfig, as_group=False, skip={"data"})


def _run(options: Namespace) -> None:
    from mnad.data.preparation import PrepareConfig, prepare
    from mnad.runtime.progress import log_to

    config = build(PrepareConfig, options)
    with log_to(config.store.with_name(f"{config.store.name}.log")):
        store = prepare(config)
    for name, split in store.splits.items():
        shape = f"{store.size} x {store.size} x {store.channels}"
        print(f"{name}: {len(split.videos)} videos, {split.frames:,} frames, {shape}")
    print(f"wrote {store.path}")


COMMAND = Command(
    "mnad prepare data/ped2",
    "decode it once, into a clip store",
    "Decode and resize a data set once, into a memory-mapped clip store; goes on where it was stopped.",
    "mnad prepare data/ped2 --out stores/ped2 --size 256",
    _add_options,
    _run,
)
