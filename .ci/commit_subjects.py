"""Checks the subject lines of commits: of one message as a commit-msg hook, or of all that came after FIRST.

python .ci/commit_subjects.py             # what CI runs
python .ci/commit_subjects.py MESSAGE     # what the hook runs, on the file of a message
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

FIRST = "3e90792"  # the last commit before the rules were checked
LONGEST = 72
IMPERATIVE = {"bring", "embed", "feed", "need", "seed", "speed", "string", "shed"}


def faults(message: str) -> Iterator[str]:
    """Yields what is wrong with a commit message."""
    subject, *body = message.split("\n")
    first = subject.partition(" ")[0].lower()
    if len(subject) > LONGEST:
        yield f"is {len(subject)} characters long, at most {LONGEST} are allowed"
    if not subject[:1].isupper():
        yield "does not begin with a capital letter"
    if subject.endswith("."):
        yield "ends with a full stop"
    if ";" in subject:
        yield "joins two changes by a semicolon: make two commits"
    if first.endswith(("ed", "ing", ":")) and first not in IMPERATIVE:
        yield f"begins with {first!r}: say in the imperative what the commit does, as in 'Add', 'Mend', 'Test'"
    if body and body[0]:
        yield "is not followed by an empty line"


def messages() -> Iterator[str]:
    """Yields the messages of the commits after FIRST, but for merges; of the last commit where FIRST is not there."""
    known = subprocess.run(["git", "cat-file", "-e", FIRST], capture_output=True, check=False).returncode == 0
    commits = [f"{FIRST}..HEAD"] if known else ["-1"]
    command = ["git", "log", "--no-merges", "--format=%B%x00", *commits]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    yield from (message.strip() for message in found.split("\0") if message.strip())


def main() -> int:
    """Prints the faults; 1 if there are any."""
    given = [Path(sys.argv[1]).read_text()] if len(sys.argv) > 1 else messages()
    found = [(message.split("\n")[0], fault) for message in given for fault in faults(message)]
    for subject, fault in found:
        print(f"commit subject {subject!r} {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
