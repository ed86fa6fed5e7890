"""What a project gets from the wheel of lckd_mm, and what `import lckd_mm` imports."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import lckd_mm
from lckd_mm.cli.dispatch import SCRIPT
from tests.helpers.downstream_projects import INHERITED_FILE, OWN_DATASET, OWN_REGISTRY, Project
from tests.helpers.shared import make_once
from tests.helpers.stand_in_data import write_stand_in_data

ROOT = Path(lckd_mm.__file__).parents[1]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, since a build leaves intermediate files next to setup.py."""
    folder = tmp_path_factory.mktemp('wheel')
    ignored = shutil.ignore_patterns('.*', '__pycache__', '*.egg-info', 'build', 'work_dirs', 'tests', 'docs')
    shutil.copytree(ROOT, folder / 'source', ignore=ignored)
    command = ['wheel', '--quiet', '--no-deps', '--no-build-isolation', '--wheel-dir', folder, folder / 'source']
    subprocess.run([sys.executable, '-m', 'pip', *map(str, command)], check=True)
    (path,) = folder.glob('lckd_mm-*.whl')
    return path


@pytest.fixture(scope='module')
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the Python path, into which the wheel is installed."""
    folder = tmp_path_factory.mktemp('site')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_contains_every_config_and_tool(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    expected = [
        path.relative_to(ROOT)
        for folder in ('configs', 'tools')
        for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    ]
    assert {f'lckd_mm/.mim/{path.as_posix()}' for path in (*expected, Path('model-index.yml'))} <= set(modes)
    assert modes['lckd_mm/.mim/tools/dist_train.sh'] & 0o111
    assert not [name for name in modes if name.startswith(('tests/', 'configs/', 'tools/'))]


def test_the_wheel_installs_the_console_script(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith('.dist-info/entry_points.txt'))
        assert archive.read(name).decode().split('\n')[:2] == [
            '[console_scripts]',
            f'{SCRIPT} = lckd_mm.cli.console:main',
        ]


@pytest.mark.training
def test_a_project_elsewhere_inherits_a_config_and_runs_a_tool_from_the_wheel(site: Path, tmp_path: Path) -> None:
    name = next(iter(sorted((ROOT / 'configs').glob('*/*.py')))).relative_to(ROOT / 'configs').as_posix()
    (tmp_path / 'mine.py').write_text(f"_base_ = 'lckd_mm::{name}'\nmine = 'yes'\n")
    code = 'import lckd_mm, mmengine; c = mmengine.Config.fromfile("mine.py"); print(lckd_mm.__file__, c.mine)'
    environment = {**os.environ, 'PYTHONPATH': str(site)}
    for arguments, expected in (
        (['-c', code], f'{site}/lckd_mm/__init__.py yes'),
        (['-m', 'lckd_mm', 'train', '-h'], '--resume'),
    ):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


def test_spectral_can_be_used_standalone(tmp_path: Path) -> None:
    shutil.copytree(ROOT / 'lckd_mm' / 'spectral', tmp_path / 'spectral')
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import spectral, torch
x = torch.randn(2, 3, 4, 4)
assert spectral.transmitting_spectral_norm(x, x).shape == (2,)
assert not {{'lckd_mm', 'mmcv', 'mmengine', 'mmrazor'}} & set(sys.modules)
"""
    # -I keeps the working directory, which contains lckd_mm, off the path; -P does so only from Python 3.11 on.
    done = subprocess.run([sys.executable, '-I', '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Blocked: what only the demonstration needs. mmdet imports scikit-learn where it is installed.
IMPORT = """
import sys
sys.modules.update(dict.fromkeys(('sklearn', 'lckd_mm.datasets')))
import lckd_mm
users = [
    name for name, module in sys.modules.items()
    if name.startswith('lckd_mm') and {'matplotlib', 'plt', 'sklearn'} & set(vars(module) if module else ())
]
assert not users, users
assert lckd_mm.spectral.transmitting_spectral_norm
assert set(lckd_mm.__all__) <= set(vars(lckd_mm))
"""


def test_lckd_mm_is_imported_without_what_only_the_demonstration_needs() -> None:
    done = subprocess.run(
        [sys.executable, '-c', IMPORT], env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.training
def test_a_project_elsewhere_changes_classes_and_data_of_the_flagship_and_trains(site: Path, tmp_path: Path) -> None:
    from lckd_mm.datasets import CLASSES, DigitSceneSettings, make_digit_scenes

    make_digit_scenes(tmp_path / 'mine', DigitSceneSettings(num_train=4, num_val=2, num_test=2), progress=False)
    (tmp_path / 'mine.py').write_text(f"""
_base_ = 'lckd_mm::voc/lckd_faster_rcnn.py'
narrow = {{
    'backbone.base_channels': 8, 'backbone.init_cfg': None, 'backbone.frozen_stages': -1, 'neck.out_channels': 16,
    'rpn_head.in_channels': 16, 'rpn_head.feat_channels': 16, 'roi_head.bbox_roi_extractor.out_channels': 16,
    'roi_head.bbox_head.in_channels': 16, 'roi_head.bbox_head.num_classes': {len(CLASSES)},
}}
model = dict(
    architecture=dict(cfg_options={{**narrow, 'neck.in_channels': [8, 16, 32, 64]}}),
    teacher=dict(cfg_options={{**narrow, 'backbone.depth': 50, 'neck.in_channels': [32, 64, 128, 256]}}),
    teacher_ckpt=None,
    allow_random_teacher=True,
)
mine = dict(type='XMLDataset', data_root='mine/', data_prefix=dict(sub_data_root=''), metainfo=dict(classes={CLASSES!r}))
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(times=1, dataset=dict(_delete_=True, **mine, ann_file='ImageSets/Main/train.txt',
                                       pipeline=_base_.train_pipeline)),
)
val_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(**mine, ann_file='ImageSets/Main/val.txt'),
)
train_pipeline = None
train_cfg = dict(max_epochs=1)
""")
    environment = {**os.environ, 'PYTHONPATH': str(site), 'OMP_NUM_THREADS': '1'}
    resize = [
        f'train_dataloader.dataset.dataset.pipeline.{2}.scale=(128,128)',
        'val_dataloader.dataset.pipeline.1.scale=(128,128)',
    ]
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', 'lckd_mm', 'train', 'mine.py', '--cfg-options', *resize],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert (tmp_path / 'work_dirs' / 'mine' / 'epoch_1.pth').exists()
    assert 'pascal_voc/mAP' in done.stdout + done.stderr


@pytest.mark.training
@pytest.mark.parametrize(
    'project',
    [OWN_REGISTRY, *(pytest.param(project, marks=pytest.mark.slow) for project in (OWN_DATASET, INHERITED_FILE))],
    ids=lambda project: project.codebase,
)
def test_the_training_script_of_another_project_trains(
    project: Project, site: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / 'data').symlink_to(make_once(tmp_path_factory, 'data', write_stand_in_data))
    project.write(tmp_path, site / 'lckd_mm' / '.mim' / 'configs')
    # The interpreter adds the folder of the script to the path, not that of the project.
    environment = {**os.environ, 'PYTHONPATH': f'{site}{os.pathsep}{tmp_path}', 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-W', 'ignore', *project.runner, 'tools/train.py', 'mine.py']
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    output = done.stdout + done.stderr
    assert f' {project.metric}: ' in output
    assert 'distill.loss_lipschitz: ' in output
    assert 'scope "lckd_mm"' not in output
    assert (tmp_path / 'work_dirs' / 'mine' / 'epoch_1.pth').exists()
