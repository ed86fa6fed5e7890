"""Packages lckd_mm; `configs/`, `tools/` and `model-index.yml` go to `lckd_mm/.mim`, where OpenMMLab looks for them."""

import os
import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Copies what belongs under `.mim` into the package that is built; in development mode, links to it."""

    def run(self) -> None:
        super().run()
        package = ROOT if self.editable_mode else Path(self.build_lib).resolve()
        target = package / 'lckd_mm' / '.mim'
        # Made anew, for a file that has gone must not stay.
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


dependencies = runpy.run_path(str(ROOT / 'lckd_mm' / 'dependencies.py'))['DEPENDENCIES']
readme = ROOT / 'README.md'

setup(
    name='lckd_mm',
    version=runpy.run_path(str(ROOT / 'lckd_mm' / 'version.py'))['__version__'],
    description='Lipschitz continuity guided knowledge distillation (LCKD) for any OpenMMLab model',
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else '',
    long_description_content_type='text/markdown',
    packages=find_packages(include=['lckd_mm', 'lckd_mm.*']),
    package_data={'lckd_mm': ['**/data/**']},
    cmdclass={'build_py': BuildWithMim},
    python_requires='>=3.9',
    install_requires=[dependency.requirement for dependency in dependencies],
    extras_require={
        # The bundled demonstration set is made from the digits and photographs inside scikit-learn.
        'demo': ['scikit-learn>=1.0'],
        'tensorboard': ['tensorboard'],
    },
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    zip_safe=False,
)
