"""What lckd_mm needs, in one table: `setup.py` reads it for `install_requires`, importing lckd_mm checks it.

Nothing is imported at the top but the standard library, so that `setup.py` can run this file on a bare machine.
"""

import re
from importlib import metadata
from typing import NamedTuple, Tuple


class Dependency(NamedTuple):
    """A distribution that must be installed.

    Args:
        name: Its name for pip.
        versions: The versions accepted, as comma-separated comparisons.
        mend: The command that installs it; by default pip with the name and the versions.
    """

    name: str
    versions: str
    mend: str = ''

    @property
    def requirement(self) -> str:
        return self.name + self.versions

    @property
    def command(self) -> str:
        return self.mend or f'pip install "{self.requirement}"'


def _without_dependencies(name: str, versions: str) -> Dependency:
    # Their own requirements would bring another OpenCV and another mmcv.
    return Dependency(name, versions, f'pip install --no-deps "{name}{versions}"')


DEPENDENCIES: Tuple[Dependency, ...] = (
    # From 2.6 on torch's safe reader takes a table of further names (`torch.serialization.safe_globals`).
    Dependency('torch', '>=2.6,<3'),
    Dependency('torchvision', '>=0.21'),
    # mmengine imports pkg_resources, which setuptools 81 no longer has.
    Dependency('setuptools', '<81'),
    _without_dependencies('mmengine', '>=0.10,<1'),
    # mmdet and mmsegmentation want mmcv < 2.2.0, mmrazor <= 2.1.0.
    Dependency(
        'mmcv',
        '>=2.0.0,<=2.1.0',
        'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-deps --no-cache-dir mmcv==2.1.0',
    ),
    _without_dependencies('mmdet', '>=3.0,<4'),
    _without_dependencies('mmsegmentation', '>=1.0,<2'),
    _without_dependencies('mmpretrain', '>=1.0,<2'),
    _without_dependencies('mmrazor', '>=1.0,<2'),
    # mmrazor imports both and declares the second only.
    Dependency('joblib', '>=1.0'),
    Dependency('ordered-set', '>=4.0'),
    # mmseg.models imports both and declares neither.
    Dependency('ftfy', '>=6.0'),
    Dependency('regex', '>=2022.1'),
)

_COMPARISONS = {
    '>=': lambda found, wanted: found >= wanted,
    '<=': lambda found, wanted: found <= wanted,
    '==': lambda found, wanted: found == wanted,
    '<': lambda found, wanted: found < wanted,
}


def _release(version: str) -> Tuple[int, ...]:
    """The numbers a version begins with, without trailing zeros: '2.13.0+cpu' is (2, 13)."""
    numbers = [int(number) for number in re.match(r'\d+(?:\.\d+)*', version).group().split('.')]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def is_accepted(version: str, versions: str) -> bool:
    """Whether `version` lies within `versions`, such as '>=2.0.0,<=2.1.0'; only the release numbers are compared."""
    for comparison in versions.split(','):
        sign, wanted = re.fullmatch(r'(>=|<=|==|<)(.+)', comparison.strip()).groups()
        if not _COMPARISONS[sign](_release(version), _release(wanted)):
            return False
    return True


def check_dependencies(dependencies: Tuple[Dependency, ...] = DEPENDENCIES) -> None:
    """Checks that everything lckd_mm needs is installed in a version it works with.

    Raises:
        ImportError: Naming each distribution that is missing or of another version, the version found, the versions
            wanted and the command that installs it.
    """
    complaints = []
    for dependency in dependencies:
        try:
            found = metadata.version(dependency.name)
        except metadata.PackageNotFoundError:
            found = None
        if found is None or not is_accepted(found, dependency.versions):
            state = 'is not installed' if found is None else f'is installed as {found}'
            complaints.append(f'{dependency.name} {state}, wanted is {dependency.versions}: {dependency.command}')
    if complaints:
        raise ImportError('lckd_mm cannot be imported: ' + '; '.join(complaints))
