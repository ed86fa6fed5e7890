from typing import Any, Callable

import pytest
import torch
from mmrazor.registry import MODELS

import lckd_mm  # noqa: F401

TAPS = [f'backbone.layer{i}' for i in (1, 2, 3, 4)]


def classifier(depth: int = 18, base_channels: int = 4, num_classes: int = 3) -> dict:
    expansion = 1 if depth < 50 else 4
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='ResNet', depth=depth, base_channels=base_channels, stem_channels=base_channels),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=8 * base_channels * expansion),
    )


def spectral_distiller(**changes: Any) -> dict:
    sides = dict(student=True, teacher=False)
    config = dict(
        type='LipschitzDistiller',
        taps=TAPS,
        connectors=dict(norms=dict(type='SpectralNormConnector')),
        distill_losses=dict(loss_lipschitz=dict(type='LipschitzLoss', distance='relative')),
        loss_forward_mappings=dict(
            loss_lipschitz={k: dict(from_student=v, recorder='taps', connector='norms') for k, v in sides.items()}
        ),
    )
    return {**config, **changes}


@pytest.fixture
def build() -> Callable[..., torch.nn.Module]:
    """Build a distillation of two small classifiers, with changes to the algorithm and its distiller."""

    def _build(distiller: Any = None, **changes: Any) -> torch.nn.Module:
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

    return _build


@pytest.fixture
def batch() -> tuple:
    """Four images of 64 x 64 and their labels."""
    from mmpretrain.structures import DataSample

    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return images, [DataSample().set_gt_label(i % 3) for i in range(4)]
