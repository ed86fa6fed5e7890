"""Demonstration configs in DistributedDataParallel: which gradients the processes reduce."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from tests.helpers.configs import build_from_config, load_config, stand_in_batch
from tests.helpers.small_classifiers import build_distillation, classification_batch
from tests.helpers.tools import ROOT


@pytest.fixture
def _group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def wrap(model: BaseModel) -> MMDistributedDataParallel:
    """Wrap a model as the Runner does."""
    model.init_weights()
    return MMDistributedDataParallel(model.train(), broadcast_buffers=False, find_unused_parameters=False)


def take_steps(model: MMDistributedDataParallel, batch: Any) -> None:
    # The second forward pass fails if a parameter received no gradient in the first step.
    for _ in range(2):
        total, _ = model.module.parse_losses(model(*batch, mode='loss'))
        total.backward()


def trained_bytes(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)


@pytest.mark.usefixtures('_group')
@pytest.mark.parametrize(
    'name',
    ['lckd_resnet_w16_w4_digits', 'lckd_faster_rcnn_r50_r18_digits', 'lckd_deeplabv3plus_r18w32_r18w8_digits'],
)
def test_buckets_hold_the_gradients_of_student_and_adapters_and_each_receives_one(name: str) -> None:
    cfg = load_config(ROOT / 'configs' / 'demo' / f'{name}.py')
    model = wrap(build_from_config(cfg))
    distillation = model.module
    take_steps(model, stand_in_batch(cfg, distillation))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        student = MODELS.build(cfg.model.architecture)
    expected = trained_bytes(student) + trained_bytes(distillation.distiller)
    data = model._get_ddp_logging_data()
    assert data['total_parameter_size_bytes'] == expected
    assert sum(map(int, data['bucket_sizes'].split(','))) == expected
    assert data['find_unused_parameters'] == 0
    teacher = {id(tensor) for tensor in (*distillation.teacher.parameters(), *distillation.teacher.buffers())}
    assert len(teacher) > 50
    assert not teacher & {id(tensor) for tensor in (*model._module_parameters, *model.modules_buffers)}


@pytest.mark.usefixtures('_group')
def test_distillation_without_the_students_loss_states_that_it_has_unused_parameters() -> None:
    model = wrap(build_distillation(calculate_student_loss=False))
    assert model.module.has_unused_parameters
    with pytest.raises(RuntimeError, match='Expected to have finished reduction'):
        take_steps(model, classification_batch())
