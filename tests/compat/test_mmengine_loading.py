"""What mmengine loads from the checkpoints of distillations, and from pretrained models."""

from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import load_checkpoint
from torch import nn

import lckd_mm  # noqa: F401  (applies the patches)
from lckd_mm.errors import ConfigValueError
from lckd_mm.models.utils import build_model

from ..helpers.small_classifiers import build_distillation, classifier


@pytest.mark.parametrize('kind', ['student alone', 'distillation'])
def test_student_is_loaded_by_the_function_that_all_interfaces_call(kind: str, tmp_path: Path) -> None:
    """``init_detector``, ``init_model``, ``get_model`` and the inferencers call `load_checkpoint`."""
    alone, distillation = build_model(classifier()), build_distillation()
    source, model = (distillation, alone) if kind == 'student alone' else (alone, distillation)
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'checkpoint.pth')
    load_checkpoint(model, str(tmp_path / 'checkpoint.pth'))
    expected, actual = (getattr(part, 'architecture', part).state_dict() for part in (source, model))
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_interface_of_mmpretrain_loads_the_student_of_a_distillation(tmp_path: Path) -> None:
    from mmengine.config import Config
    from mmpretrain import get_model

    source = build_distillation()
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'checkpoint.pth')
    config = Config(dict(model=classifier(), default_scope='mmpretrain'))
    model = get_model(config, pretrained=str(tmp_path / 'checkpoint.pth'))
    torch.testing.assert_close(model.state_dict(), source.architecture.state_dict(), rtol=0, atol=0)


class Layer(BaseModule):
    """A linear layer that starts from a checkpoint."""

    def __init__(self, **init_cfg: str) -> None:
        super().__init__(dict(type='Pretrained', **init_cfg))
        self.fc = nn.Linear(2, 2)


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    state = {'backbone.fc.weight': torch.ones(2, 2), 'wide.fc.weight': torch.ones(3, 3)}
    torch.save(dict(state_dict=state), tmp_path / 'pretrained.pth')
    return str(tmp_path / 'pretrained.pth')


def test_pretrained_model_is_loaded_in_part(checkpoint: str) -> None:
    layer = Layer(checkpoint=checkpoint, prefix='backbone.')
    layer.init_weights()
    assert layer.fc.weight.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize('init_cfg', [{}, dict(prefix='wide.'), dict(prefix='neck.')])
def test_pretrained_model_of_which_nothing_is_loaded_is_rejected(init_cfg: dict, checkpoint: str) -> None:
    with pytest.raises(ConfigValueError, match=r"init_cfg of Layer: 0 of its 2 tensors match .*pretrained\.pth'"):
        Layer(checkpoint=checkpoint, **init_cfg).init_weights()
