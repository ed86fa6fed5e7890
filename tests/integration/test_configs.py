from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

from .conftest import ROOT

CONFIGS = sorted(p for p in (ROOT / 'configs').rglob('*.py') if '_base_' not in p.parts)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
def test_every_config_parses_builds_and_takes_a_step(path: Path) -> None:
    from mmdet.structures import DetDataSample

    cfg = Config.fromfile(path)
    torch.manual_seed(0)
    distils = 'teacher' in cfg.model
    if distils:
        # Nothing is downloaded in a test.
        cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
        cfg.model.architecture.cfg_options['backbone.init_cfg'] = None
        cfg.model.teacher.setdefault('cfg_options', {})['backbone.init_cfg'] = None
    else:
        cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    samples = []
    for _ in range(2):
        sample = DetDataSample(
            metainfo=dict(img_shape=(96, 96), ori_shape=(96, 96), pad_shape=(96, 96), batch_input_shape=(96, 96))
        )
        boxes = torch.tensor([[8.0, 8.0, 40.0, 60.0], [30.0, 20.0, 90.0, 80.0]])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 2]))
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0, dtype=torch.int64))
        samples.append(sample)
    losses = model(torch.randn(2, 3, 96, 96), samples, mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    if distils:
        assert losses['distill.loss_lipschitz'] > 0
        assert all(p.grad is not None for p in model.distiller.parameters())
        assert all(p.grad is None for p in model.teacher.parameters())
        # The last BN of a block is zero at first, so nothing before it in the block has a gradient yet.
        assert model.student.backbone.layer4[0].bn2.weight.grad.abs().sum() > 0
