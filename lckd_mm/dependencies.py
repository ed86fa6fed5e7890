"""The dependencies of lckd_mm: `setup.py` reads them for `install_requires`, and importing lckd_mm checks them.

Only the standard library is imported, since `setup.py` runs this file where nothing else is installed.
"""

import operator
import re
from importlib import metadata
from typing import NamedTuple


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


DEPENDENCIES: tuple[Dependency, ...] = (
    # `torch.serialization.safe_globals` accepts pairs of an object and a name since 2.6.
    Dependency('torch', '>=2.6,<3'),
    Dependency('torchvision', '>=0.21'),
    # mmengine imports pkg_resources, which setuptools 81 removed.
    Dependency('setuptools', '<81'),
    _without_dependencies('mmengine', '>=0.10,<1'),
    # mmdet and mmsegmentation require mmcv < 2.2.0, mmrazor requires mmcv <= 2.1.0.
    Dependency(
        'mmcv',
        '>=2.0.0,<=2.1.0',
        'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-deps --no-cache-dir mmcv==2.1.0',
    ),
    _without_dependencies('mmdet', '>=3.0,<4'),
    _without_dependencies('mmsegmentation', '>=1.0,<2'),
    _without_dependencies('mmpretrain', '>=1.0,<2'),
    _without_dependencies('mmrazor', '>=1.0,<2'),
    # mmrazor imports both, and declares only ordered-set.
    Dependency('joblib', '>=1.0'),
    Dependency('ordered-set', '>=4.0'),
    # mmseg.models imports both, and mmsegmentation declares neither.
    Dependency('ftfy', '>=6.0'),
    Dependency('regex', '>=2022.1'),
)

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


def check_dependencies(dependencies: tuple[Dependency, ...] = DEPENDENCIES) -> None:
    """Check that all dependencies are installed in accepted versions.

    Args:
        dependencies (tuple[Dependency, ...]): The dependencies. Defaults to those of lckd_mm.

    Raises:
        ImportError: A distribution is missing or has another version. The message contains the installed version, the
            accepted versions and the command that installs it, for each of them.
    """
    problems = []
    for dependency in dependencies:
        try:
            version = metadata.version(dependency.name)
        except metadata.PackageNotFoundError:
            problems.append(_problem(dependency, 'is not installed'))
            continue
        if not is_accepted(version, dependency.versions):
            problems.append(_problem(dependency, f'is installed as {version}'))
    if problems:
        raise ImportError('lckd_mm cannot be imported: ' + '; '.join(problems))


def _problem(dependency: Dependency, state: str) -> str:
    return f'{dependency.name} {state}, but lckd_mm requires {dependency.versions}: {dependency.command}'
