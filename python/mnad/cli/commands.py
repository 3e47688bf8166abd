"""The table of subcommands, in the order in which people meet them."""

from __future__ import annotations

from mnad.cli import (
    calibrate,
    demo,
    evaluate,
    figures,
    inspect,
    overlay,
    prepare,
    report,
    reproduce,
    score,
    synth,
    train,
)

COMMANDS = {
    "demo": demo.COMMAND,
    "synth": synth.COMMAND,
    "inspect": inspect.COMMAND,
    "prepare": prepare.COMMAND,
    "train": train.COMMAND,
    "score": score.COMMAND,
    "calibrate": calibrate.COMMAND,
    "evaluate": evaluate.COMMAND,
    "figures": figures.COMMAND,
    "report": report.COMMAND,
    "overlay": overlay.COMMAND,
    "reproduce": reproduce.COMMAND,
}
