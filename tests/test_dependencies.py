import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from lckd_mm.cli.env import describe_environment
from lckd_mm.dependencies import (
    FRAMEWORKS,
    LIGHT,
    OPENCV,
    STACKS,
    check_dependencies,
    current_stack,
    find_problems,
    install_commands,
    is_accepted,
)
from tests.helpers.tools import ROOT


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


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Versions that stand in for those of the environment; None removes a distribution."""
    versions: dict[str, str | None] = {}
    real = metadata.version

    def version(name: str) -> str:
        found = versions[name] if name in versions else real(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, 'version', version)
    stack = current_stack()
    for module in FRAMEWORKS:
        for name, distribution in FRAMEWORKS[module].items():
            versions[distribution.name] = real(FRAMEWORKS[module][stack].name) if name == stack else None
    return versions


def use_stack(installed: dict[str, str | None], stack: str) -> None:
    tested = dict(mmcv='2.3.6', mmengine='0.10.12', mmdet='3.5.1', mmseg='1.4.2', mmpretrain='1.3.6')
    originals = dict(mmcv='2.1.0', mmengine='0.10.7', mmdet='3.3.0', mmseg='1.2.2', mmpretrain='1.2.0')
    for module, distributions in FRAMEWORKS.items():
        for name, distribution in distributions.items():
            versions = tested if name == 'onedl' else originals
            installed[distribution.name] = versions[module] if name == stack else None
    installed.update({'imaug': '0.4.3', 'imageio': '2.37', 'scikit-image': '0.25', 'setuptools': '80.10.2'})


def test_a_missing_dependency_is_reported_with_the_command_that_installs_it(installed: dict) -> None:
    installed['joblib'] = None
    with pytest.raises(
        ImportError, match=r'joblib is not installed, but lckd_mm requires >=1.0: pip install "joblib>=1.0"'
    ):
        check_dependencies()


@pytest.mark.parametrize('stack', STACKS)
def test_either_stack_is_accepted_and_named(stack: str, installed: dict) -> None:
    use_stack(installed, stack)
    check_dependencies()
    assert current_stack() == stack
    assert describe_environment()[0].endswith(f'stack: {stack}')


def test_stacks_may_be_mixed_by_import_name(installed: dict) -> None:
    use_stack(installed, 'openmmlab')
    installed.update({'mmcv': None, 'onedl-mmcv': '2.3.6'})
    check_dependencies()
    assert current_stack() == 'mixed'


def test_two_distributions_of_one_import_name_are_rejected(installed: dict) -> None:
    use_stack(installed, 'openmmlab')
    installed['onedl-mmcv'] = '2.3.6'
    with pytest.raises(
        ImportError, match=r'mmcv and onedl-mmcv are both installed, .*pip uninstall -y mmcv onedl-mmcv && MMCV_WITH'
    ):
        check_dependencies()


@pytest.mark.parametrize(('stack', 'missing'), [('openmmlab', 'mmdet'), ('onedl', 'onedl-mmdetection')])
def test_a_missing_framework_is_reported_in_the_stack_of_the_others(stack: str, missing: str, installed: dict) -> None:
    use_stack(installed, stack)
    installed[missing] = None
    assert len(find_problems()) == 1
    assert f'pip install --no-deps "{missing}>=' in find_problems()[0]


def test_without_a_stack_the_default_is_proposed(installed: dict) -> None:
    use_stack(installed, 'none')
    assert current_stack() == 'none'
    assert [problem.split()[0] for problem in find_problems()] == [
        'mmengine',
        'mmcv',
        'mmdet',
        'mmsegmentation',
        'mmpretrain',
    ]


def test_opencv_may_be_any_of_its_distributions(installed: dict) -> None:
    installed.update({'opencv-python-headless': None, 'opencv-python': '5.0.0'})
    check_dependencies()
    installed['opencv-python'] = None
    assert find_problems() == ['OpenCV is not installed: pip install opencv-python-headless']


def test_new_setuptools_are_rejected_where_mmengine_imports_pkg_resources(installed: dict) -> None:
    use_stack(installed, 'openmmlab')
    installed['setuptools'] = '81.0'
    assert 'setuptools is installed as 81.0' in find_problems()[0]
    use_stack(installed, 'onedl')
    installed['setuptools'] = '81.0'
    check_dependencies()


def test_imaug_is_required_by_the_fork_alone(installed: dict) -> None:
    use_stack(installed, 'openmmlab')
    installed['imaug'] = None
    check_dependencies()
    use_stack(installed, 'onedl')
    installed['imaug'] = None
    assert find_problems() == [
        'imaug is not installed, but lckd_mm requires >=0.4.3: pip install --no-deps "imaug>=0.4.3"'
    ]


def test_a_wrong_version_is_reported_with_the_range_and_the_command(installed: dict) -> None:
    use_stack(installed, 'openmmlab')
    installed['mmcv'] = '2.2.0'
    with pytest.raises(
        ImportError, match=r'mmcv is installed as 2\.2\.0, but lckd_mm requires >=2\.0\.0,<=2\.1\.0: MMCV_WITH_OPS=1'
    ):
        check_dependencies()


def test_the_wheel_requires_neither_torch_nor_opencv_nor_a_stack() -> None:
    heavy = {'torch', 'torchvision', *OPENCV, *(d.name for stacks in FRAMEWORKS.values() for d in stacks.values())}
    assert not heavy & {dependency.name for dependency in LIGHT}


@pytest.mark.parametrize('stack', STACKS)
@pytest.mark.parametrize('has_opencv', [True, False])
def test_the_commands_of_a_stack_install_what_the_wheel_does_not(stack: str, has_opencv: bool, installed: dict) -> None:
    installed.update(dict.fromkeys(OPENCV))
    installed['opencv-contrib-python'] = '5.0.0' if has_opencv else None
    commands = '\n'.join(install_commands(stack))
    assert all(
        name in commands for name in (*(stacks[stack].name for stacks in FRAMEWORKS.values()), 'mmrazor', 'ninja')
    )
    assert ('opencv' in commands) is not has_opencv


def test_the_environment_is_printed_where_lckd_mm_cannot_be_imported(tmp_path: Path) -> None:
    # Without site-packages nothing but the standard library is found.
    command = [sys.executable, '-S', '-m', 'lckd_mm', 'env', '--stack', 'onedl']
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={'PATH': os.environ['PATH']}
    )
    assert done.returncode == 1, done.stderr
    assert 'stack: none' in done.stdout
    assert '- torch is not installed' in done.stdout
    assert done.stdout.count(install_commands('onedl')[1]) == 2
    assert 'mmcv==2.1.0' not in done.stdout
    command[4] = 'train'
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={'PATH': os.environ['PATH']}
    )
    assert 'python -m lckd_mm env' in done.stderr
