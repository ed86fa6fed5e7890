"""Copies or links `configs/`, `tools/` and `model-index.yml` to `lckd_mm/.mim`, where OpenMMLab looks for them.

All metadata that is constant is in pyproject.toml.
"""

import os
import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Copy the files of `.mim` into the package that is built; link to them in development mode."""

    def run(self) -> None:
        """Build the package, then replace its `.mim`, so that deleted files do not stay."""
        super().run()
        package = ROOT if self.editable_mode else Path(self.build_lib).resolve()
        target = package / 'lckd_mm' / '.mim'
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in MIM:
            source = ROOT / name
            if self.editable_mode:
                (target / name).symlink_to(os.path.relpath(source, target), target_is_directory=source.is_dir())
            elif source.is_dir():
                shutil.copytree(source, target / name, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
            else:
                shutil.copy2(source, target / name)


setup(
    version=runpy.run_path(str(ROOT / 'lckd_mm' / 'version.py'))['__version__'],
    install_requires=[
        dependency.requirement for dependency in runpy.run_path(str(ROOT / 'lckd_mm' / 'dependencies.py'))['LIGHT']
    ],
    packages=find_packages(include=['lckd_mm', 'lckd_mm.*']),
    package_data={'lckd_mm': ['py.typed', '**/data/**']},
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
