"""Lets ``python -m mnad.cli`` be the command."""

import sys

from mnad.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
