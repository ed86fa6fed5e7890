"""The dependencies of lckd_mm, and the two stacks of OpenMMLab packages with which it works.

Importing lckd_mm checks them, `setup.py` reads the requirements of the wheel from here, and `python -m lckd_mm env` prints them. Only
the standard library is imported, since this file runs where nothing else is installed.
"""

import operator
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

STACKS = ('openmmlab', 'onedl')
"""The stacks: OpenMMLab's own packages (2023 to 2024), and the maintained fork of VBTI with the same import names."""


class Dependency(NamedTuple):
    """A distribution that must be installed.

    Args:
        name (str): Name of the distribution.
        versions (str): Accepted versions, as comma-separated comparisons.
        install (str): Command that installs it. Defaults to pip with the name and the versions.

    Example:
        >>> Dependency('joblib', '>=1.0').command
        'pip install "joblib>=1.0"'
    """

    name: str
    versions: str
    install: str = ''

    @property
    def requirement(self) -> str:
        """Name and versions, as in a requirements file."""
        return self.name + self.versions

    @property
    def command(self) -> str:
        """The command that installs the distribution."""
        return self.install or f'pip install "{self.requirement}"'


def _without_dependencies(name: str, versions: str) -> Dependency:
    # The requirements of these packages would install another OpenCV and another mmcv.
    return Dependency(name, versions, f'pip install --no-deps "{name}{versions}"')


def _with_operators(name: str, versions: str, tested: str) -> Dependency:
    # The folder contains a module without which setup.py of mmcv 2.1.0 fails with Python 3.13.
    path = f'PYTHONPATH={Path(__file__).parent / ".mim/tools/mmcv_build"} ' if sys.version_info >= (3, 13) else ''
    command = f'MMCV_WITH_OPS=1 {path}pip install --no-build-isolation --no-deps --no-cache-dir {name}=={tested}'
    return Dependency(name, versions, command)


# An upgrade by pip would replace a build for a certain GPU, so the wheel does not require them.
TORCH = (
    # `torch.serialization.safe_globals` accepts pairs of an object and a name since 2.6.
    Dependency('torch', '>=2.6,<3'),
    Dependency('torchvision', '>=0.21'),
)

FRAMEWORKS: dict[str, dict[str, Dependency]] = {
    'mmengine': {
        'openmmlab': _without_dependencies('mmengine', '>=0.10.5,<1'),
        'onedl': _without_dependencies('onedl-mmengine', '>=0.10.12,<1'),
    },
    'mmcv': {
        # mmdet and mmsegmentation require mmcv < 2.2.0, mmrazor requires mmcv <= 2.1.0.
        'openmmlab': _with_operators('mmcv', '>=2.0.0,<=2.1.0', '2.1.0'),
        'onedl': _with_operators('onedl-mmcv', '>=2.3,<3', '2.3.6'),
    },
    'mmdet': {
        'openmmlab': _without_dependencies('mmdet', '>=3.0,<4'),
        'onedl': _without_dependencies('onedl-mmdetection', '>=3.5,<4'),
    },
    'mmseg': {
        'openmmlab': _without_dependencies('mmsegmentation', '>=1.0,<2'),
        'onedl': _without_dependencies('onedl-mmsegmentation', '>=1.4,<2'),
    },
    'mmpretrain': {
        'openmmlab': _without_dependencies('mmpretrain', '>=1.0,<2'),
        'onedl': _without_dependencies('onedl-mmpretrain', '>=1.3,<2'),
    },
}
"""The distribution of each import name in each stack."""

MMRAZOR = _without_dependencies('mmrazor', '>=1.0,<2')

EXTRAS: dict[str, tuple[Dependency, ...]] = {
    # It imports pkg_resources, which setuptools 81 removed.
    'mmengine': (Dependency('setuptools', '<81'),),
    # Its pipelines import the module imgaug. The requirements of imaug would install two other OpenCVs.
    'onedl-mmdetection': (
        _without_dependencies('imaug', '>=0.4.3'),
        Dependency('imageio', '>=2.5'),
        Dependency('scikit-image', '>=0.18'),
    ),
}
"""What single distributions of :data:`FRAMEWORKS` need besides :data:`LIGHT`."""

LIGHT = tuple(
    Dependency(name, versions)
    for name, versions in {
        'addict': '>=2.4',
        'einops': '>=0.6',
        # Imported by mmseg and by mmrazor, which do not declare them: ftfy, regex and joblib.
        'ftfy': '>=6.0',
        'importlib-metadata': '>=4.0',
        'joblib': '>=1.0',
        'mat4py': '>=0.5',
        'matplotlib': '>=3.7',
        'modelindex': '>=0.0.2',
        'ordered-set': '>=4.0',
        'packaging': '>=21.0',
        'pillow': '>=9.0',
        'prettytable': '>=3.0',
        'pycocotools': '>=2.0.6',
        'pyyaml': '>=6.0',
        'regex': '>=2022.1',
        'rich': '>=13.4',
        'scipy': '>=1.9',
        'shapely': '>=2.0',
        'six': '>=1.16',
        'termcolor': '>=2.0',
        'terminaltables': '>=3.1',
        'tqdm': '>=4.60',
        'yapf': '>=0.40',
    }.items()
)
"""The requirements of the wheel: small packages that lckd_mm and the stacks import, without torch, OpenCV and the stacks themselves."""

# Either of two distributions may be installed, and a second one would overwrite files of the first.
OPENCV = ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'opencv-contrib-python-headless')

# Installed by a command of their own, since their operators are compiled.
_BUILT = {distribution.name for distribution in FRAMEWORKS['mmcv'].values()}

_COMPARISONS = {'>=': operator.ge, '<=': operator.le, '==': operator.eq, '<': operator.lt}


def _release(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version, without trailing zeros: ``(2, 13)`` for ``'2.13.0+cpu'``."""
    match = re.match(r'\d+(?:\.\d+)*', version)
    assert match is not None, f'{version!r} is not a version'
    numbers = [int(number) for number in match.group().split('.')]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def is_accepted(version: str, versions: str) -> bool:
    """Return whether a version satisfies comparisons; only the release numbers are compared.

    Args:
        version (str): A version.
        versions (str): Comma-separated comparisons with ``>=``, ``<=``, ``==`` and ``<``.

    Returns:
        bool: Whether all comparisons are true.

    Example:
        >>> is_accepted('2.1.0', '>=2.0.0,<=2.1.0')
        True
    """
    for comparison in versions.split(','):
        match = re.fullmatch(r'(>=|<=|==|<)(.+)', comparison.strip())
        assert match is not None, f'{comparison!r} is not a comparison of versions'
        sign, limit = match.groups()
        if not _COMPARISONS[sign](_release(version), _release(limit)):
            return False
    return True


def find_version(name: str) -> str | None:
    """Return the version of an installed distribution, None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def find_stacks(module: str) -> list[str]:
    """Return the stacks whose distribution of an import name is installed: one of them in a sound environment.

    Args:
        module (str): A key of :data:`FRAMEWORKS`.

    Returns:
        list[str]: Elements of :data:`STACKS`.
    """
    return [stack for stack, dependency in FRAMEWORKS[module].items() if find_version(dependency.name) is not None]


def current_stack() -> str:
    """Return the stack of this environment.

    Returns:
        str: An element of :data:`STACKS`; ``'mixed'`` if the import names are from both; ``'none'`` if none is installed.
    """
    found = {stack for module in FRAMEWORKS for stack in find_stacks(module)}
    return found.pop() if len(found) == 1 else 'mixed' if found else 'none'


def find_distribution(module: str) -> Dependency | None:
    """Return the installed distribution of an import name, None if it is not installed or not one of :data:`FRAMEWORKS`."""
    stacks = find_stacks(module) if module in FRAMEWORKS else []
    return FRAMEWORKS[module][stacks[0]] if stacks else None


def install_commands(stack: str) -> list[str]:
    """Return the commands that complete an environment with torch and the wheel of lckd_mm; a present OpenCV is kept.

    Args:
        stack (str): An element of :data:`STACKS`.

    Returns:
        list[str]: Shell commands, in this order.

    Example:
        >>> ' '.join(install_commands('onedl')[1].split()[-2:])
        '--no-cache-dir onedl-mmcv==2.3.6'
    """
    distributions = [stacks[stack] for stacks in FRAMEWORKS.values()]
    extras = [extra for distribution in distributions for extra in EXTRAS.get(distribution.name, ())]
    others = [dependency for dependency in (*extras, *distributions, MMRAZOR) if dependency.name not in _BUILT]
    alone = [dependency.requirement for dependency in others if '--no-deps' in dependency.command]
    complete = [dependency.requirement for dependency in others if '--no-deps' not in dependency.command]
    if not any(map(find_version, OPENCV)):
        complete.append(OPENCV[1])
    build = ['wheel', 'ninja', 'psutil', *([] if 'setuptools' in {extra.name for extra in extras} else ['setuptools'])]
    return [
        f'pip install {_quote([*build, *complete])}',
        FRAMEWORKS['mmcv'][stack].command,
        f'pip install --no-deps {_quote(alone)}',
    ]


def _quote(requirements: Iterable[str]) -> str:
    return ' '.join(
        f'"{requirement}"' if {'<', '>'} & set(requirement) else requirement for requirement in requirements
    )


def find_problems(default: str = STACKS[0]) -> list[str]:
    """Return what is missing in this environment or has another version.

    Of an import name, the distribution of either stack is accepted. One that is missing is reported in the stack of the others.

    Args:
        default (str): The stack to propose in an environment without any. Defaults to the first of :data:`STACKS`.

    Returns:
        list[str]: One clause for each problem: the installed version, the accepted versions and the command that corrects it.
    """
    stack = current_stack()
    default = stack if stack in STACKS else default
    problems = [_find_problem(dependency) for dependency in (*TORCH, *LIGHT)]
    if not any(map(find_version, OPENCV)):
        problems.append(f'OpenCV is not installed: pip install {OPENCV[1]}')
    for module, distributions in FRAMEWORKS.items():
        stacks = find_stacks(module)
        if len(stacks) < 2:
            distribution = distributions[stacks[0] if stacks else default]
            problems += map(_find_problem, (*EXTRAS.get(distribution.name, ()), distribution))
        else:
            names = [distributions[found].name for found in stacks]
            problems.append(
                f'{" and ".join(names)} are both installed, and each has overwritten files of the other: '
                f'pip uninstall -y {" ".join(names)} && {distributions[default].command}'
            )
    problems.append(_find_problem(MMRAZOR))
    return [problem for problem in problems if problem is not None]


def _find_problem(dependency: Dependency) -> str | None:
    version = find_version(dependency.name)
    if version is not None and is_accepted(version, dependency.versions):
        return None
    state = 'is not installed' if version is None else f'is installed as {version}'
    return f'{dependency.name} {state}, but lckd_mm requires {dependency.versions}: {dependency.command}'


def check_dependencies() -> None:
    """Check that all dependencies are installed in accepted versions.

    Raises:
        ImportError: A distribution is missing or has another version; the message lists the problems of :func:`find_problems`.
    """
    problems = find_problems()
    if problems:
        raise ImportError(
            f'lckd_mm cannot be imported: {"; ".join(problems)} (all commands for either stack: python -m lckd_mm env)'
        )
