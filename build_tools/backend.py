"""The PEP 517 backend: setuptools, building against the torch that the target environment already has.

A plain build requirement on torch would pull another torch into pip's isolated environment and build against that.
pip's build environment still runs the target environment's interpreter, so its site-packages are known: where a torch
lies there, it is added to the end of the path and used; where none does, torch is requested as a build requirement.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import setuptools
from configuration import SETUPTOOLS, BuildError, without_isolation

if int(setuptools.__version__.split(".")[0]) < SETUPTOOLS:
    raise BuildError(
        f"it needs setuptools {SETUPTOOLS} or later, and this is {setuptools.__version__}. {without_isolation()}"
    )

from setuptools import build_meta
from setuptools.build_meta import (  # noqa: F401
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

TORCH = "torch>=2.11"


def _target_site_packages() -> str | None:
    purelib = sysconfig.get_path("purelib")
    return purelib if (Path(purelib) / "torch" / "version.py").is_file() else None


_site_packages = _target_site_packages()
if _site_packages is not None and _site_packages not in sys.path:
    sys.path.append(_site_packages)


def get_requires_for_build_wheel(config_settings: dict[str, str] | None = None) -> list[str]:
    """Names what a wheel needs to be built: torch only where the target environment has none."""
    missing = [] if _site_packages is not None else [TORCH]
    return [*build_meta.get_requires_for_build_wheel(config_settings), *missing]


def get_requires_for_build_editable(config_settings: dict[str, str] | None = None) -> list[str]:
    """Names what an editable install needs to be built, as for a wheel."""
    return get_requires_for_build_wheel(config_settings)
