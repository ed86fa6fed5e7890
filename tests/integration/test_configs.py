"""Every config of the repository takes a training step; the published ones have the published numbers."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, PARAM_SCHEDULERS, DefaultScope

from tests.helpers.configs import build_from_config, calibrate_batch_norms, load_config, stand_in_batch
from tests.helpers.tools import ROOT

pytestmark = pytest.mark.usefixtures('no_downloads')
FOLDER = ROOT / 'configs'
CONFIGS = sorted(p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob('*.py') if '_base_' not in p.parts)
BLOCKS = sorted(p.stem for p in (FOLDER / '_base_' / 'distillers').glob('*.py'))


@pytest.mark.parametrize('name', CONFIGS, ids=lambda name: name[:-3])
def test_every_config_parses_builds_and_takes_a_step(name: str) -> None:
    cfg = load_config(FOLDER / name)
    model = build_from_config(cfg)
    model.init_weights()
    model.train()
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper.copy())
    images, samples = stand_in_batch(cfg, model)
    if 'published_pyramidnet200' in name:
        # The maps of 200 blocks with random weights and the initial statistics have squares beyond float32.
        calibrate_batch_norms(model.teacher, images)
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
    # The last BN of a residual block may be initialized to zero, so that the layers before it have no gradient yet.
    assert sum(bool(g.abs().sum() > 0) for g in grads) > len(grads) / 5
    # DistributedDataParallel needs no search for unused parameters, which takes time in each step, and the config asks for none.
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert not cfg.get('find_unused_parameters')
    optimizer.step()
    assert any((p != q).any() for p, q in zip(network.parameters(), before))
    if 'teacher' in cfg.model:
        assert all(torch.equal(p, q) for p, q in zip(model.teacher.parameters(), teacher))
    else:
        # The model of a plain config predicts.
        with torch.no_grad():
            assert len(model.eval()(images, samples, mode='predict')) == len(samples)


class Published(NamedTuple):
    """A row of the authors' settings."""

    teacher: tuple[str, dict[str, Any]]
    student: tuple[str, dict[str, Any]]
    batch: int
    weights: tuple[float, float | None]
    """Weight of the Lipschitz loss at first, and from 60 % of the epochs on."""

    rates: dict[int, float]
    """Learning rate from an epoch on."""

    teacher_taps: tuple[str, ...]
    student_taps: tuple[str, ...]
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


def _wrn(depth: int, widen_factor: int) -> tuple[str, dict]:
    return 'WideResNet', dict(depth=depth, widen_factor=widen_factor)


_PUBLISHED = {
    'cifar100/published_wrn28_4_wrn16_4_cifar100.py': Published(
        _wrn(28, 4), _wrn(16, 4), 128, (0.8 / 200, 0.2 / 200), _TWO, _WRN, _WRN
    ),
    'cifar100/published_wrn28_4_wrn28_2_cifar100.py': Published(
        _wrn(28, 4), _wrn(28, 2), 128, (0.2 / 200, None), _TWO, _WRN, _WRN
    ),
    'cifar100/published_wrn28_4_wrn16_2_cifar100.py': Published(
        _wrn(28, 4), _wrn(16, 2), 128, (0.25 / 200, None), {**_TWO, 175: 0.0002}, _WRN, _WRN
    ),
    'cifar100/published_wrn28_4_resnet56_cifar100.py': Published(
        _wrn(28, 4),
        ('CIFARResNet', dict(depth=56)),
        128,
        (1 / 200, 2 / 200),
        {**_TWO, 175: 0.0002},
        _WRN,
        _STAGES[:3],
    ),
    'cifar100/published_pyramidnet200_a240_wrn28_4_cifar100.py': Published(
        ('PyramidNet', dict(depth=200, alpha=240, bottleneck=True)),
        _wrn(28, 4),
        64,
        (4 / 200, None),
        {**_TWO, 175: 0.0001},
        _PYRAMID,
        _WRN,
    ),
    'cifar100/published_pyramidnet200_a240_pyramidnet110_a84_cifar100.py': Published(
        ('PyramidNet', dict(depth=200, alpha=240, bottleneck=True)),
        ('PyramidNet', dict(depth=110, alpha=84, bottleneck=False)),
        64,
        (1 / 200, None),
        {**_TWO, 175: 0.0002},
        _PYRAMID,
        _BASIC_PYRAMID,
    ),
    'imagenet/published_resnet152_resnet50_in1k.py': Published(
        ('ResNet', dict(depth=152)), ('ResNet', dict(depth=50)), student_taps=_STAGES, **_IN1K
    ),
    'imagenet/published_resnet50_mobilenet_v1_in1k.py': Published(
        ('ResNet', dict(depth=50)),
        ('MobileNetV1', {}),
        student_taps=tuple(f'backbone.layer{i}' for i in (2, 3, 4, 5)),
        **_IN1K,
    ),
}


def test_every_distillation_of_the_papers_classifiers_is_in_the_table() -> None:
    assert {name for name in CONFIGS if re.match('(cifar100|imagenet)/published_', name)} == set(_PUBLISHED)


@pytest.mark.parametrize('name', _PUBLISHED, ids=lambda name: name[:-3])
def test_published_settings(name: str) -> None:
    row, cfg = _PUBLISHED[name], load_config(FOLDER / name)
    distiller = cfg.model.distiller
    backbones = dict(
        teacher=get_config(cfg.model.teacher.cfg_path).model.backbone, student=cfg.model.architecture.backbone
    )
    for side, (kind, arguments) in dict(teacher=row.teacher, student=row.student).items():
        backbone = backbones[side]
        assert backbone.type.rpartition('.')[2] == kind
        assert {key: backbone[key] for key in arguments} == arguments
    assert tuple(distiller.get('teacher_taps') or distiller.taps) == row.teacher_taps
    assert tuple(distiller.get('student_taps') or distiller.taps) == row.student_taps
    assert distiller.adapters is True

    lipschitz, overhaul = distiller.losses.lipschitz, distiller.losses.ofd
    first, later = row.weights
    assert lipschitz.loss_weight == pytest.approx(first)
    assert (lipschitz.distance, lipschitz.decay) == ('mse', 0.5)
    assert (overhaul.get('loss_weight', 1.0), overhaul.get('decay', 0.5)) == (1.0, 0.5)
    assert overhaul.mul_factor == row.divisor
    assert (lipschitz.method, lipschitz.num_iters) == ('power', row.iterations)
    schedules = [hook for hook in cfg.default_hooks.values() if hook.type.endswith('LossWeightSchedulerHook')]
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


def _rates(cfg: Config) -> dict[int, float]:
    """Return the learning rates by the epoch from which on they are used."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=cfg.optim_wrapper.optimizer.lr)
    with DefaultScope.overwrite_default_scope('mmengine'):
        schedulers = [PARAM_SCHEDULERS.build(dict(s, optimizer=optimizer)) for s in cfg.param_scheduler]
    rates: dict[int, float] = {}
    for epoch in range(cfg.train_cfg.max_epochs):
        rate = optimizer.param_groups[0]['lr']
        if not rates or rate != pytest.approx(list(rates.values())[-1]):
            rates[epoch] = rate
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def test_published_settings_are_one_block() -> None:
    block = Config.fromstring("_base_ = 'lckd_mm::_base_/distillers/published.py'", file_format='.py')
    distiller = block.distillation.distiller
    assert distiller.losses.lipschitz.distance == 'mse'
    assert distiller.losses.lipschitz.method == 'power'
    assert distiller.adapters is True


@pytest.mark.parametrize(('name', 'weight'), [('cwd', 0.0), ('lipschitz_balanced_cwd', 0.5)])
def test_rtmdet_has_mmyolos_published_settings(name: str, weight: float) -> None:
    cfg = load_config(FOLDER / f'coco/{name}_rtmdet_s_tiny_coco.py')
    losses = cfg.model.distiller.losses
    # configs/rtmdet/distillation/kd_tiny_rtmdet_s_neck_300e_coco.py; the temperature is the default there.
    levels = [f'neck.out_convs.{level}.conv' for level in range(3)]
    assert losses.cwd == dict(taps=levels, normalize=True, loss_weight=1.0)
    assert losses.lipschitz.loss_weight == weight
    assert (cfg.train_cfg.max_epochs, cfg.default_hooks.stop_distillation.stop_epoch) == (300, 280)
    switches = [hook.switch_epoch for hook in cfg.custom_hooks if hook.type == 'PipelineSwitchHook']
    assert switches == [280]
    student = get_config('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py')
    assert cfg.model.architecture.backbone.widen_factor == student.model.backbone.widen_factor == 0.375


@pytest.mark.parametrize('block', BLOCKS)
def test_every_block_trains_with_a_student_and_its_hooks_are_registered(block: str, tmp_path: Path) -> None:
    student, teacher = {
        'lipschitz_fpn': ('faster_rcnn_r18', 'faster_rcnn_r50'),
        # Its CWD reads class scores that are maps.
        'lckd_segmentation': ('deeplabv3plus_r18w8', 'deeplabv3plus_r18w32'),
    }.get(block, ('resnet_w4', 'resnet_w16'))
    (tmp_path / 'mine.py').write_text(f"""
_base_ = ['lckd_mm::demo/{student}_digits.py', 'lckd_mm::_base_/distillers/{block}.py']
model = dict(
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='lckd_mm::demo/{teacher}_digits.py'),
    **_base_.distillation)
default_hooks = _base_.distillation_hooks
""")
    cfg = load_config(tmp_path / 'mine.py')
    model = build_from_config(cfg)
    model.init_weights()
    images, samples = stand_in_batch(cfg, model.train())
    losses = model(images, samples, mode='loss')
    expected = {f'distill.loss_{name}' for name in cfg.model.distiller.losses}
    assert {name for name in losses if name.startswith('distill.')} == expected
    assert all(losses[name] > 0 for name in expected)
    hooks = [HOOKS.build(hook) for hook in cfg.distillation_hooks.values()]
    assert {'LipschitzMonitorHook', 'ClassCountHook', 'AnnotationCheckHook'} <= {type(hook).__name__ for hook in hooks}
