"""Every config of the repository takes a training step; the published ones hold the published numbers."""

import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope
from mmengine.structures import InstanceData

from .conftest import ROOT

FOLDER = ROOT / 'configs'
CONFIGS = sorted(p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob('*.py') if '_base_' not in p.parts)


@pytest.fixture(autouse=True)
def _nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmengine.model.weight_init.PretrainedInit.__call__', lambda *_: None)


def _load(name: str) -> Config:
    cfg = Config.fromfile(FOLDER / name)
    if 'teacher' in cfg.model:
        cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
    return cfg


def _build(cfg: Config) -> torch.nn.Module:
    """As the Runner does."""
    torch.manual_seed(0)
    model = cfg.model.copy()
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return revert_sync_batchnorm(MODELS.build(model))


def _batch(cfg: Config, model: torch.nn.Module) -> Tuple[torch.Tensor, List]:
    """Two images of a size that the config's data has, or of a smaller one where any will do, and annotations."""
    if cfg.default_scope == 'mmpretrain':
        from mmpretrain.structures import DataSample

        side = 224 if 'ImageNet' in cfg.train_dataloader.dataset.type else 32
        return torch.randn(2, 3, side, side), [DataSample().set_gt_label(label) for label in (0, 3)]
    if cfg.default_scope == 'mmseg':
        from mmengine.structures import PixelData
        from mmseg.structures import SegDataSample

        network = getattr(model, 'student', model)
        labels = torch.randint(network.decode_head.num_classes, (2, 1, 128, 128))
        labels[:, :, :10] = 255
        shapes = dict(img_shape=(128, 128), ori_shape=(128, 128), pad_shape=(128, 128))
        return torch.randn(2, 3, 128, 128), [
            SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=shapes) for label in labels
        ]
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    # An SSD head is laid out for one size.
    side = 300 if 'ssd300' in cfg.filename else 96
    samples = []
    for _ in range(2):
        shape = (side, side)
        sample = DetDataSample(
            metainfo=dict(
                img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=shape, scale_factor=(1.0, 1.0)
            )
        )
        boxes = torch.tensor([[8.0, 8.0, 40.0, 60.0], [30.0, 20.0, 90.0, 80.0]])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 2]))
        if any(name.endswith('mask_head') for name, _ in model.named_modules()):
            masks = torch.zeros(2, *shape, dtype=torch.uint8)
            masks[0, 8:60, 8:40] = masks[1, 20:80, 30:90] = 1
            sample.gt_instances.masks = BitmapMasks(masks.numpy(), *shape)
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0, dtype=torch.int64))
        samples.append(sample)
    return torch.randn(2, 3, side, side), samples


@pytest.mark.parametrize('name', CONFIGS, ids=lambda name: name[:-3])
def test_every_config_parses_builds_and_takes_a_step(name: str) -> None:
    cfg = _load(name)
    model = _build(cfg)
    model.init_weights()
    model.train()
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper.copy())
    images, samples = _batch(cfg, model)
    losses = model(images, samples, mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    network = getattr(model, 'student', model)
    before = [p.detach().clone() for p in network.parameters()]
    if 'teacher' in cfg.model:
        distilled = {key: value for key, value in losses.items() if key.startswith('distill.')}
        weights = {f'distill.{key}': loss.loss_weight for key, loss in model.distiller.distill_losses.items()}
        assert set(distilled) == set(weights)
        assert all(distilled[key] > 0 for key, weight in weights.items() if weight)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.distiller.parameters())
        assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
        teacher = [p.clone() for p in model.teacher.parameters()]
    grads = [p.grad for p in network.backbone.parameters() if p.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in grads)
    # The last BN of a residual block may be zero at first, so that nothing before it in the block has a gradient yet.
    assert sum(bool(g.abs().sum() > 0) for g in grads) > len(grads) / 5
    optimizer.step()
    assert any((p != q).any() for p, q in zip(network.parameters(), before))
    if 'teacher' in cfg.model:
        assert all(torch.equal(p, q) for p, q in zip(model.teacher.parameters(), teacher))
    else:
        # A student predicts as its own config's model does.
        with torch.no_grad():
            assert len(model.eval()(images, samples, mode='predict')) == len(samples)


class Published(NamedTuple):
    """A row of the authors' settings."""

    teacher: Tuple[str, Dict[str, Any]]
    student: Tuple[str, Dict[str, Any]]
    batch: int
    weights: Tuple[float, Optional[float]]
    """Of the Lipschitz term, at first and from 60 % of the epochs on."""

    rates: Dict[int, float]
    """Learning rate from an epoch on."""

    teacher_taps: Tuple[str, ...]
    student_taps: Tuple[str, ...]
    epochs: int = 200
    iterations: int = 10
    decay: float = 5e-4
    divisor: float = 1000.0


_WRN = ('backbone.layer2.0.bn1', 'backbone.layer3.0.bn1', 'backbone.bn1')
_STAGES = tuple(f'backbone.layer{i}' for i in (1, 2, 3, 4))
_PYRAMID = ('backbone.layer2.0.bn2', 'backbone.layer3.0.bn2', 'backbone.bn_final')
_BASIC_PYRAMID = ('backbone.layer2.0.bn1', 'backbone.layer3.0.bn1', 'backbone.bn_final')
_TWO = {0: 0.1, 100: 0.01, 150: 0.001}
_IN1K = dict(
    batch=96,
    weights=(2000 / (96 * 10000), None),
    rates={0: 0.1, 30: 0.01, 60: 1e-3, 90: 1e-4},
    teacher_taps=_STAGES,
    epochs=100,
    iterations=5,
    decay=1e-4,
    divisor=10000.0,
)


def _wrn(depth: int, widen_factor: int) -> Tuple[str, Dict]:
    return 'WideResNet', dict(depth=depth, widen_factor=widen_factor)


_PUBLISHED = {
    'cifar100/lckd_a_wrn28_4_wrn16_4_cifar100.py': Published(
        _wrn(28, 4), _wrn(16, 4), 128, (0.8 / 200, 0.2 / 200), _TWO, _WRN, _WRN
    ),
    'cifar100/lckd_b_wrn28_4_wrn28_2_cifar100.py': Published(
        _wrn(28, 4), _wrn(28, 2), 128, (0.2 / 200, None), _TWO, _WRN, _WRN
    ),
    'cifar100/lckd_c_wrn28_4_wrn16_2_cifar100.py': Published(
        _wrn(28, 4), _wrn(16, 2), 128, (0.25 / 200, None), {**_TWO, 175: 0.0002}, _WRN, _WRN
    ),
    'cifar100/lckd_d_wrn28_4_resnet56_cifar100.py': Published(
        _wrn(28, 4),
        ('CIFARResNet', dict(depth=56)),
        128,
        (1 / 200, 2 / 200),
        {**_TWO, 175: 0.0002},
        _WRN,
        _STAGES[:3],
    ),
    'cifar100/lckd_e_pyramidnet200_wrn28_4_cifar100.py': Published(
        ('PyramidNet', dict(depth=200, alpha=240, bottleneck=True)),
        _wrn(28, 4),
        64,
        (4 / 200, None),
        {**_TWO, 175: 0.0001},
        _PYRAMID,
        _WRN,
    ),
    'cifar100/lckd_f_pyramidnet200_pyramidnet110_cifar100.py': Published(
        ('PyramidNet', dict(depth=200, alpha=240, bottleneck=True)),
        ('PyramidNet', dict(depth=110, alpha=84, bottleneck=False)),
        64,
        (1 / 200, None),
        {**_TWO, 175: 0.0002},
        _PYRAMID,
        _BASIC_PYRAMID,
    ),
    'imagenet/lckd_a_resnet152_resnet50_in1k.py': Published(
        ('ResNet', dict(depth=152)), ('ResNet', dict(depth=50)), student_taps=_STAGES, **_IN1K
    ),
    'imagenet/lckd_b_resnet50_mobilenet_v1_in1k.py': Published(
        ('ResNet', dict(depth=50)),
        ('MobileNetV1', {}),
        student_taps=tuple(f'backbone.layer{i}' for i in (2, 3, 4, 5)),
        **_IN1K,
    ),
}


def test_every_distillation_of_the_papers_classifiers_is_in_the_table() -> None:
    assert {name for name in CONFIGS if re.match('(cifar100|imagenet)/lckd_[a-f]_', name)} == set(_PUBLISHED)


@pytest.mark.parametrize('name', _PUBLISHED, ids=lambda name: name[:-3])
def test_published_settings(name: str) -> None:
    row, cfg = _PUBLISHED[name], _load(name)
    distiller = cfg.model.distiller
    for side, (kind, arguments) in (('teacher', row.teacher), ('architecture', row.student)):
        with DefaultScope.overwrite_default_scope('mmrazor'):
            from mmengine.hub import get_config

            backbone = get_config(cfg.model[side].cfg_path).model.backbone
        assert backbone.type.rpartition('.')[2] == kind
        assert {key: backbone[key] for key in arguments} == arguments
    assert tuple(distiller.get('teacher_taps') or distiller.taps) == row.teacher_taps
    assert tuple(distiller.get('student_taps') or distiller.taps) == row.student_taps
    assert distiller.adapters is True

    lipschitz, overhaul = distiller.distill_losses.loss_lipschitz, distiller.distill_losses.loss_ofd
    first, later = row.weights
    assert lipschitz.loss_weight == pytest.approx(first)
    assert (lipschitz.distance, lipschitz.decay) == ('mse', 0.5)
    assert (overhaul.get('loss_weight', 1.0), overhaul.get('decay', 0.5)) == (1.0, 0.5)
    assert overhaul.mul_factor == row.divisor
    connector = distiller.connectors.spectral_norms
    assert (connector.method, connector.n_iters) == ('power', row.iterations)
    schedules = [hook for hook in cfg.custom_hooks if hook.type.endswith('LossWeightSchedulerHook')]
    if later is None:
        assert schedules == []
    else:
        (hook,) = schedules
        assert (hook.start_weight, hook.end_weight) == (pytest.approx(first), pytest.approx(later))
        assert (hook.begin, hook.get('policy', 'step'), hook.loss) == (0.6, 'step', 'loss_lipschitz')

    assert cfg.train_dataloader.batch_size == row.batch == cfg.auto_scale_lr.base_batch_size
    assert cfg.train_cfg.max_epochs == row.epochs
    assert _rates(cfg) == pytest.approx(row.rates)
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer == dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=row.decay, nesterov=True)
    if name.startswith('cifar100'):
        assert cfg.data_preprocessor['mean'] == [125.3, 123.0, 113.9]
        assert cfg.data_preprocessor['std'] == [63.0, 62.1, 66.7]
        crop, flip, _ = cfg.train_dataloader.dataset.pipeline
        assert crop == dict(type='RandomCrop', crop_size=32, padding=4, padding_mode='reflect')
        assert (flip.type, flip.prob) == ('RandomFlip', 0.5)


def _rates(cfg: Config) -> Dict[int, float]:
    """The learning rates over the epochs: from which epoch on, which one."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=cfg.optim_wrapper.optimizer.lr)
    with DefaultScope.overwrite_default_scope('mmengine'):
        schedulers = [PARAM_SCHEDULERS.build(dict(s, optimizer=optimizer)) for s in cfg.param_scheduler]
    found: Dict[int, float] = {}
    for epoch in range(cfg.train_cfg.max_epochs):
        rate = optimizer.param_groups[0]['lr']
        if not found or rate != pytest.approx(list(found.values())[-1]):
            found[epoch] = rate
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


def test_the_published_settings_are_one_line_away() -> None:
    """Whatever the defaults are."""
    cfg = Config.fromstring("_base_ = 'lckd_mm::_base_/distillers/lckd_published.py'", file_format='.py')
    distiller = cfg.model.distiller
    assert distiller.distill_losses.loss_lipschitz.distance == 'mse'
    assert distiller.connectors.spectral_norms.method == 'power'
    assert distiller.adapters is True
