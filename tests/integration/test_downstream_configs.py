"""A project in another folder inherits any config as `lckd_mm::NAME` and builds everything in it."""

import functools
from collections.abc import Iterator
from pathlib import Path

import mmengine
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from tests.helpers.shared import make_once
from tests.helpers.stand_in_data import write_stand_in_data
from tests.helpers.tools import ROOT

FOLDER = ROOT / 'configs'
CONFIGS = sorted(p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob('*.py') if '_base_' not in p.parts)


@pytest.fixture(scope='session')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_once(tmp_path_factory, 'data', write_stand_in_data)


@pytest.fixture(scope='module', autouse=True)
def _fast_mmengine() -> Iterator[None]:
    """Leave out what takes most of the time of a small Runner."""
    with pytest.MonkeyPatch.context() as patched:
        # All metafiles of a package are read for every config that is inherited from it.
        patched.setattr('mmengine.config.utils.load', functools.cache(mmengine.load))
        # The config is formatted for the log and for two files, which the stack onedl does in another way.
        if hasattr(mmengine.config.config, 'FormatCode'):
            patched.setattr('mmengine.config.config.FormatCode', lambda text, **_: (text, True))
        # Compilers are called for their versions.
        patched.setattr('mmengine.runner.Runner._log_env', lambda *_: None)
        # The values of the weights do not matter.
        for name in ('uniform_', 'normal_', 'trunc_normal_', 'kaiming_uniform_', 'kaiming_normal_', 'xavier_uniform_'):
            patched.setattr(f'torch.nn.init.{name}', lambda tensor, *_, **__: tensor)
        # Every data set collects garbage.
        patched.setattr('gc.collect', lambda *_: 0)
        yield


@pytest.fixture
def project(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project with the data sets, in which nothing is downloaded."""
    (tmp_path / 'data').symlink_to(data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('mmpretrain.datasets.cifar.check_md5', lambda *_: True)
    return tmp_path


@pytest.mark.parametrize('name', CONFIGS, ids=lambda name: name[:-3])
def test_a_foreign_config_inherits_a_config_and_builds_everything(name: str, project: Path) -> None:
    # One image is no complete batch. A loop that counts iterations starts the worker processes when it is built.
    loader = dict(drop_last=False, num_workers=0, persistent_workers=False)
    text = f"_base_ = 'lckd_mm::{name}'\nwork_dir = 'work_dir'\ntrain_dataloader = {loader}\n"
    (project / 'mine.py').write_text(text)
    cfg = Config.fromfile('mine.py')
    if 'teacher' in cfg.model:
        cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
    runner = Runner.from_cfg(cfg)
    # Data sets, pipelines, samplers and metrics.
    for loop in (runner.train_loop, runner.val_loop, runner.test_loop):
        assert loop.dataloader.dataset[0]['inputs'] is not None
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    assert runner.build_param_scheduler(runner.param_schedulers)
