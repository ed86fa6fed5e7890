"""A distillation of two small classifiers, and a batch for it."""

from typing import Any

import torch
from mmpretrain.structures import DataSample
from mmrazor.registry import MODELS
from torch import Tensor, nn

import lckd_mm  # noqa: F401  (registers the components)

TAPS = [f'backbone.layer{stage}' for stage in (1, 2, 3, 4)]


def classifier(depth: int = 18, base_channels: int = 4, num_classes: int = 3) -> dict[str, Any]:
    """Return the config of a ResNet classifier."""
    expansion = 1 if depth < 50 else 4
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='ResNet', depth=depth, base_channels=base_channels, stem_channels=base_channels),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=8 * base_channels * expansion),
    )


def spectral_distiller(**changes: Any) -> dict[str, Any]:
    """Return the config of a distiller with a Lipschitz loss over four taps; ``changes`` replace options."""
    sides = dict(student=True, teacher=False)
    config = dict(
        type='LipschitzDistiller',
        taps=TAPS,
        connectors=dict(norms=dict(type='SpectralNormConnector')),
        distill_losses=dict(loss_lipschitz=dict(type='LipschitzLoss', distance='relative')),
        loss_forward_mappings=dict(
            loss_lipschitz={
                argument: dict(from_student=from_student, recorder='taps', connector='norms')
                for argument, from_student in sides.items()
            }
        ),
    )
    return {**config, **changes}


def distillation_config(**distiller: Any) -> dict[str, Any]:
    """Return the config of a distillation between equal classifiers with the preset ``lipschitz``, for a config file."""
    return dict(
        type='LipschitzDistill',
        _scope_='mmrazor',
        architecture=classifier(),
        teacher=classifier(),
        allow_random_teacher=True,
        distiller={'type': 'LipschitzDistiller', 'taps': TAPS, 'losses': ['lipschitz'], **distiller},
    )


def build_distillation(distiller: dict[str, Any] | None = None, **changes: Any) -> nn.Module:
    """Build a distillation of a ResNet-50 into a ResNet-18 with seed 0; ``changes`` replace options of the algorithm."""
    torch.manual_seed(0)
    config = dict(
        type='LipschitzDistill',
        _scope_='mmrazor',
        architecture=classifier(),
        teacher=classifier(depth=50),
        distiller=distiller or spectral_distiller(),
        allow_random_teacher=True,
    )
    return MODELS.build({**config, **changes})


def classification_batch() -> tuple[Tensor, list[DataSample]]:
    """Return four images of 64 x 64 pixels and their labels."""
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return images, [DataSample().set_gt_label(index % 3) for index in range(4)]


def train_step(model: nn.Module, batch: tuple[Tensor, list[DataSample]]) -> dict[str, Tensor]:
    """Run forward and backward pass of one batch, and return the losses."""
    model.train()
    losses = model(*batch, mode='loss')
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return losses


def ofd_distiller(**changes: Any) -> dict[str, Any]:
    """Return the config of a distiller with a Lipschitz loss and OFD over the same taps."""
    config = spectral_distiller(**changes)
    config['connectors'] = dict(config['connectors'], margins=dict(type='MarginConnector'))
    config['distill_losses'] = dict(config['distill_losses'], loss_ofd=dict(type='OverhaulLoss'))
    config['loss_forward_mappings'] = dict(
        config['loss_forward_mappings'],
        loss_ofd=dict(
            student=dict(from_student=True, recorder='taps'),
            teacher=dict(from_student=False, recorder='taps', connector='margins'),
        ),
    )
    return config
