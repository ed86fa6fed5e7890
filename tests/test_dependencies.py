from importlib import metadata

import pytest

from lckd_mm.dependencies import DEPENDENCIES, Dependency, check_dependencies, is_accepted


@pytest.mark.parametrize(
    ('version', 'versions', 'accepted'),
    [
        ('2.13.0+cpu', '>=2.6,<3', True),
        ('2.5.1', '>=2.6,<3', False),
        ('2.1.0', '>=2.0.0,<=2.1.0', True),
        ('2.1', '>=2.0.0,<=2.1.0', True),
        ('2.2.0', '>=2.0.0,<=2.1.0', False),
        ('80.10.2', '<81', True),
        ('81', '<81', False),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, versions: str, accepted: bool) -> None:
    assert is_accepted(version, versions) is accepted


def test_the_installed_dependencies_are_accepted() -> None:
    check_dependencies()


def test_a_missing_dependency_is_reported_with_the_command_that_installs_it() -> None:
    with pytest.raises(
        ImportError, match=r'no-such-package is not installed, but lckd_mm requires >=1: pip install "no-such-p'
    ):
        check_dependencies((*DEPENDENCIES, Dependency('no-such-package', '>=1')))


def test_a_wrong_version_is_reported_with_the_range_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, 'version', lambda name: '2.2.0' if name == 'mmcv' else real(name))
    with pytest.raises(
        ImportError, match=r'mmcv is installed as 2\.2\.0, but lckd_mm requires >=2\.0\.0,<=2\.1\.0: MMCV_WITH_OPS=1'
    ):
        check_dependencies()
