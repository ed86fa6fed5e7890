"""MMRazor's published distillation configs, as they are and with ``LipschitzDistill`` in place of their algorithm."""

import copy
import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample

from ..helpers.razor_configs import (
    exchange_type,
    load_published_config,
    published_configs,
    run_published_config,
    stand_in_checkpoints,
)
from ..helpers.tools import ROOT

# mmdet3d is a framework of its own, which does not work with torch 2.13.
CONFIGS = [name for name in published_configs() if not name.startswith('mmdet3d/')]
WITH_TEACHER = [name for name in CONFIGS if not any(part in name for part in ('byot', 'dafl', 'dfad', 'zskt'))]

# One of each algorithm, with those that needed a patch; `--slow` runs all.
FAST = {
    'mmcls/byot/byot_resnet18_8xb16_cifar100.py',
    'mmcls/crd/crd_neck_r50_r18_8xb16_cifar10.py',
    'mmcls/dafl/dafl_logits_resnet34_resnet18_8xb256_cifar10.py',
    'mmdet/pkd/pkd_fpn_mask-rcnn_swin_retina_r50_2x_coco.py',
}
FAST_EXCHANGED = {
    'mmcls/abloss/abloss_logits_resnet50_resnet18_8xb32_in1k.py',
    'mmcls/ofd/ofd_backbone_resnet50_resnet18_8xb16_cifar10.py',
    'mmdet/cwd/cwd_fpn_retina_r101_retina_r50_1x_coco.py',
}


def _with_marks(names: list[str], fast: set[str]) -> list:
    assert fast <= set(names)
    return [pytest.param(name, marks=[] if name in fast else pytest.mark.slow, id=Path(name).stem) for name in names]


def _assert_trained(cfg: Config, logged: dict[str, float]) -> None:
    losses = {name.removeprefix('train/'): value for name, value in logged.items() if name.startswith('train/')}
    expected = [f'distill.{name}' for name in cfg.model.distiller.loss_forward_mappings]
    expected += [
        f'generator.{name}' for name in cfg.model.get('generator_distiller', {}).get('loss_forward_mappings', {})
    ]
    assert set(expected) <= set(losses)
    assert all(math.isfinite(value) for value in losses.values()), losses


def test_the_31_configs_of_mmcls_mmdet_and_mmseg_are_walked() -> None:
    assert len(CONFIGS) == 31
    assert len(published_configs()) == 32


@pytest.mark.parametrize('name', _with_marks(CONFIGS, FAST))
def test_a_published_config_trains_and_evaluates(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_checkpoints(monkeypatch, tmp_path)
    cfg = load_published_config(name, tmp_path)
    logged = run_published_config(cfg)
    _assert_trained(cfg, logged)
    assert logged['val/student.images' if 'byot' in name else 'val/images'] == 2


@pytest.mark.parametrize('name', _with_marks(WITH_TEACHER, FAST_EXCHANGED))
def test_a_published_config_trains_with_the_type_exchanged(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = load_published_config(name, tmp_path)
    exchange_type(cfg, monkeypatch, tmp_path)
    logged = run_published_config(cfg)
    _assert_trained(cfg, logged)
    assert (logged['val/images'], logged['val/teacher.images']) == (2, 2)


def test_the_configs_of_the_page_have_the_same_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / 'docs' / 'from_mmrazor.md').read_text()
    names = re.findall(r'```python\n# (\w+\.py)\n', page)
    assert names == ['before.py', 'exchanged.py', 'after.py']
    stand_in_checkpoints(monkeypatch, tmp_path)
    (tmp_path / 'teacher.pth').touch()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    batch = dict(inputs=images, data_samples=[DataSample().set_gt_label(label) for label in (3, 7)])
    published, losses = None, {}
    for name, code in zip(names, re.findall(r'```python\n(# \w+\.py\n.*?)```', page, flags=re.DOTALL)):
        (tmp_path / name).write_text(code)
        cfg = Config.fromfile(tmp_path / name)
        assert cfg.val_cfg == dict(type='mmrazor.SingleTeacherDistillValLoop')
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = MODELS.build(cfg.model)
        published = published or model
        stand_in_checkpoints(monkeypatch, tmp_path, published.teacher.state_dict())
        model.init_weights()
        model.student.load_state_dict(published.student.state_dict())
        model.train()
        data = model.data_preprocessor(copy.deepcopy(batch), training=True)
        losses[name] = model(**data, mode='loss')
    before = {'student.loss', 'distill.loss_kd'}
    assert [set(value) for value in losses.values()] == [before, before, {*before, 'distill.loss_lipschitz'}]
    assert losses['before.py']['distill.loss_kd'] > 0
    for name in before:
        for other in ('exchanged.py', 'after.py'):
            torch.testing.assert_close(losses[other][name], losses['before.py'][name], rtol=1e-4, atol=1e-6)
