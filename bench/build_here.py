"""Builds the extension into this tree without installing anything: needs torch, ninja and pybind11, no setuptools.

    python bench/build_here.py METADATA

METADATA gets what tells an installed package's version; with it, this folder and python/ on PYTHONPATH all can be
imported. For machines that come with their own packages and where nothing is to be changed.
"""

from __future__ import annotations

import os
import runpy
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(metadata: Path) -> None:
    os.chdir(ROOT)  # sources are named from here
    sys.path.insert(0, str(ROOT / "build_tools"))
    from configuration import configure
    from ninja_build import build

    version = runpy.run_path(str(ROOT / "mnad_ext" / "_version.py"))["__version__"]
    configuration = configure(version)
    print(configuration, flush=True)
    module = ROOT / "mnad_ext" / f"_C{sysconfig.get_config_var('EXT_SUFFIX')}"
    build(configuration, ROOT / "build" / configuration.tag, module)
    info = metadata.resolve() / f"mnad_ext-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mnad-ext\nVersion: {version}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
