"""Builds the extension module with ninja; everything else stands in pyproject.toml."""

import runpy
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "build_tools"))
VERSION = runpy.run_path(str(ROOT / "mnad_ext" / "_version.py"))["__version__"]


class BuildExtension(build_ext):
    """Compiles csrc/ against the torch of this environment."""

    def build_extension(self, ext: Extension) -> None:
        """Builds the one extension there is."""
        from configuration import BuildError, configure, without_isolation

        try:
            from ninja_build import build
        except ImportError as error:
            raise BuildError(f"{error.name} is missing. {without_isolation()}") from error
        configuration = configure(VERSION)
        print(configuration, flush=True)
        # A folder of its own, kept between builds, so that only what has changed is compiled again.
        build(configuration, ROOT / "build" / configuration.tag, Path(self.get_ext_fullpath(ext.name)).resolve())


setup(
    packages=[*find_packages(include=["mnad_ext*"]), *find_packages("python", include=["mnad*"])],
    package_data={
        "mnad_ext": ["py.typed"],
        "mnad": ["py.typed", "report/templates/*", "report/vendor/*/*", "watching/page/static/*"],
    },
    ext_modules=[Extension("mnad_ext._C", sources=[])],
    cmdclass={"build_ext": BuildExtension},
)
