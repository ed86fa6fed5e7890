"""The total loss of the published configs, compared with an independent transcription of networks, adapters, margins, OFD and LCKD."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from scipy.stats import norm
from torch import Tensor, nn

from tests.helpers.published_spectral_norm import published_spectral_norm
from tests.helpers.tools import ROOT


def _bn(module: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Batch statistics in training, else running statistics; no statistics are updated."""
    if not module.training:
        return F.batch_norm(x, module.running_mean, module.running_var, module.weight, module.bias, eps=module.eps)
    return F.batch_norm(x, None, None, module.weight, module.bias, training=True, eps=module.eps)


def _wide_resnet(net: nn.Module, x: Tensor) -> tuple[list[Tensor], list[nn.Module], Tensor]:
    """Return the taps before the ReLU, the BNs of their margins, and the input of the head."""
    x = net.conv1(x)
    taps, bns = [], []
    for name in ('layer1', 'layer2', 'layer3'):
        for index, block in enumerate(getattr(net, name)):
            before = _bn(block.bn1, x)
            if index == 0 and name != 'layer1':
                taps.append(before)
                bns.append(block.bn1)
            activated = F.relu(before)
            out = block.conv2(F.relu(_bn(block.bn2, block.conv1(activated))))
            x = out + (x if block.downsample is None else block.downsample(activated))
    taps.append(_bn(net.bn1, x))
    return taps, [*bns, net.bn1], F.relu(taps[-1])


def _resnet(net: nn.Module, x: Tensor) -> tuple[list[Tensor], list[nn.Module], Tensor]:
    x = F.max_pool2d(F.relu(_bn(net.bn1, net.conv1(x))), 3, 2, 1)
    taps, bns = [], []
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        for block in stage:
            out = F.relu(_bn(block.bn1, block.conv1(x)))
            out = F.relu(_bn(block.bn2, block.conv2(out)))
            out = _bn(block.bn3, block.conv3(out))
            shortcut = x if block.downsample is None else _bn(block.downsample[1], block.downsample[0](x))
            before = out + shortcut
            x = F.relu(before)
        taps.append(before)
        bns.append(stage[-1].bn3)
    return taps, bns, x


def _margin(bn: nn.BatchNorm2d) -> Tensor:
    margins = []
    for weight, bias in zip(bn.weight.tolist(), bn.bias.tolist()):
        s, share = abs(weight), norm.cdf(-bias / abs(weight))
        if share > 0.001:
            margins.append(-s * math.exp(-((bias / s) ** 2) / 2) / (math.sqrt(2 * math.pi) * share) + bias)
        else:
            margins.append(-3 * s)
    return torch.tensor(margins, dtype=torch.float64)[None, :, None, None]


def _published_loss(
    model: nn.Module, forward: Callable, images: Tensor, labels: Tensor, divisor: float, weight: float, num_iters: int
) -> dict[str, Tensor]:
    batch = len(images)
    with torch.no_grad():
        teacher, bns, _ = forward(model.teacher.backbone, images)
    taps, _, last = forward(model.student.backbone, images)
    task = F.cross_entropy(model.student.head.fc(last.mean((2, 3))), labels)
    num_taps = len(taps)
    adapters = model.distiller.adapters
    adapted = [_bn(adapters[f'tap{i}'].bn, adapters[f'tap{i}'].conv(tap)) for i, tap in enumerate(taps)]
    feature = 0
    for i, (s, t, bn) in enumerate(zip(adapted, teacher, bns)):
        target = torch.maximum(t, _margin(bn))
        counted = (s > target) | (target > 0)
        feature = feature + ((s - target) ** 2)[counted].sum() / 2 ** (num_taps - 1 - i)
    lipschitz = 0
    for i in range(num_taps - 1):
        ones = torch.ones(adapted[i].shape[1], dtype=images.dtype)
        ours = published_spectral_norm(adapted[i], adapted[i + 1], num_iters, ones)
        theirs = published_spectral_norm(teacher[i], teacher[i + 1], num_iters, ones)
        lipschitz = lipschitz + F.mse_loss(ours, theirs) / 2 ** (num_taps - 1 - i)
    return {
        'student.loss': task,
        'distill.loss_ofd': feature / (batch * divisor),
        'distill.loss_lipschitz': weight * lipschitz,
    }


@pytest.mark.parametrize(
    ('config', 'shrink', 'forward', 'side', 'classes', 'divisor', 'weight', 'num_iters'),
    [
        ('cifar100/published_wrn28_4_wrn16_2_cifar100.py', {}, _wide_resnet, 32, 100, 1000, 0.25 / 200, 10),
        # Narrower, so that float64 takes seconds; the depth is unchanged.
        (
            'imagenet/published_resnet152_resnet50_in1k.py',
            {'backbone.base_channels': 8, 'backbone.stem_channels': 8, 'head.in_channels': 256},
            _resnet,
            64,
            1000,
            10000,
            2000 / (96 * 10000),
            5,
        ),
    ],
    ids=['cifar', 'imagenet'],
)
def test_total_loss_and_its_gradient_equal_the_published_ones(
    config: str, shrink: dict, forward: Callable, side: int, classes: int, divisor: float, weight: float, num_iters: int
) -> None:
    from mmpretrain.structures import DataSample

    cfg = Config.fromfile(ROOT / 'configs' / config)
    # The Runner passes the data preprocessor, so that both networks receive the same pixels.
    cfg.model.update(teacher_ckpt=None, allow_random_teacher=True, data_preprocessor=cfg.data_preprocessor)
    cfg.merge_from_dict({f'model.architecture.{key}': value for key, value in shrink.items()})
    cfg.model.teacher.setdefault('cfg_options', {}).update(shrink)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
    _randomize_bns(model)
    # init_weights computes the margins, but must not change the weights.
    model.teacher._is_init = model.architecture._is_init = True
    model.double().init_weights()
    model.train()

    images = torch.randn(3, 3, side, side, dtype=torch.float64)
    labels = torch.randint(classes, (3,))
    losses = model.loss(images, [DataSample().set_gt_label(int(label)) for label in labels])
    expected = _published_loss(model, forward, images, labels, divisor, weight, num_iters)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-5, atol=0, msg=lambda m, n=name: f'{n}: {m}')
    parameters = [*model.student.parameters(), *model.distiller.parameters()]
    ours = _gradient(sum(losses[name] for name in expected), parameters)
    theirs = _gradient(sum(expected.values()), parameters)
    assert (ours - theirs).norm() < 1e-5 * theirs.norm()
    # The Lipschitz loss separately: an error in it is small relative to the total.
    losses = model.loss(images, [DataSample().set_gt_label(int(label)) for label in labels])
    expected = _published_loss(model, forward, images, labels, divisor, weight, num_iters)
    ours = _gradient(losses['distill.loss_lipschitz'], parameters)
    theirs = _gradient(expected['distill.loss_lipschitz'], parameters)
    assert theirs.norm() > 0
    assert (ours - theirs).norm() < 1e-5 * theirs.norm()


def _randomize_bns(model: nn.Module) -> None:
    """Draw BNs like those of a trained network: no weight is zero, and all channels differ."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.5)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)


def _gradient(loss: Tensor, parameters: list[Any]) -> Tensor:
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    return torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten() for g, p in zip(grads, parameters)])
