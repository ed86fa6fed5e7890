"""Distillation steps on a GPU: equal to those on the CPU, in mixed precision, with SyncBN, compiled, at constant memory."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as torch_dist
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor, nn

from tests.helpers.small_classifiers import build_distillation, classifier, ofd_distiller, spectral_distiller
from tests.helpers.toy_runners import toy_runner

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _exact_convolutions() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    torch_dist.init_process_group('nccl', store=torch_dist.FileStore(str(tmp_path / 'store'), 1), rank=0, world_size=1)
    yield
    torch_dist.destroy_process_group()


def _initialized(distiller: dict, **changes: object) -> nn.Module:
    model = build_distillation(distiller, **changes)
    model.init_weights()
    return model


def _to_gpu(batch: tuple) -> tuple:
    return batch[0].cuda(), [sample.to('cuda') for sample in batch[1]]


def _train(model: nn.Module, batch: tuple, num_steps: int, wrapper: type = OptimWrapper, **options: str) -> list[dict]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    optim_wrapper = wrapper(optimizer=optimizer, **options)
    model.train()
    steps = []
    for _ in range(num_steps):
        with optim_wrapper.optim_context(model):
            losses = model(*batch, mode='loss')
        optim_wrapper.update_params(sum(value for name, value in losses.items() if 'loss' in name))
        steps.append({name: value.detach().float().cpu() for name, value in losses.items()})
    return steps


@pytest.mark.parametrize('distiller', [spectral_distiller, ofd_distiller])
@pytest.mark.parametrize('adapters', [True, False, 'auto'])
def test_steps_equal_those_on_the_cpu(distiller: object, adapters: bool | str, batch: tuple) -> None:
    if distiller is ofd_distiller and adapters is False:
        pytest.skip('OFD compares maps of equal channel counts')
    model, moved = (_initialized(distiller(adapters=adapters)) for _ in range(2))
    moved = moved.cuda()
    assert next(moved.teacher.parameters()).is_cuda
    expected, actual = _train(model, batch, 3), _train(moved, _to_gpu(batch), 3)
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_mixed_precision_trains_and_keeps_the_teacher(dtype: str, batch: tuple) -> None:
    expected = _train(_initialized(ofd_distiller()).cuda(), _to_gpu(batch), 1)[0]
    model = _initialized(ofd_distiller()).cuda()
    before = {key: value.clone() for key, value in model.teacher.state_dict().items()}
    weight = model.student.backbone.conv1.weight.detach().clone()
    steps = _train(model, _to_gpu(batch), 20, AmpOptimWrapper, dtype=dtype)
    assert all(value.isfinite().all() for step in steps for value in step.values())
    torch.testing.assert_close(steps[0], expected, rtol=0.05, atol=0.02)
    assert not torch.equal(model.student.backbone.conv1.weight, weight)
    torch.testing.assert_close(model.teacher.state_dict(), before, rtol=0, atol=0)


def test_sync_bn_trains_in_a_process_group(process_group: None, batch: tuple) -> None:
    student = classifier()
    student['backbone']['norm_cfg'] = dict(type='SyncBN')
    model = _initialized(ofd_distiller(adapters=True), architecture=student)
    adapters = [m for m in model.distiller.adapters.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert adapters
    assert all(isinstance(module, nn.SyncBatchNorm) for module in adapters)
    wrapped = nn.parallel.DistributedDataParallel(model.cuda(), device_ids=[0])
    steps = _train(wrapped, _to_gpu(batch), 3)
    expected = _train(_initialized(ofd_distiller(adapters=True)).cuda(), _to_gpu(batch), 3)
    torch.testing.assert_close(steps, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('dtype', [None, 'float16', 'bfloat16'])
def test_memory_is_constant(dtype: str | None, batch: tuple) -> None:
    model = _initialized(ofd_distiller()).cuda()
    options = dict(wrapper=AmpOptimWrapper, dtype=dtype) if dtype else {}
    allocated = []
    for num_steps in (5, 5, 30):
        _train(model, _to_gpu(batch), num_steps, **options)
        torch.cuda.synchronize()
        allocated.append(torch.cuda.memory_allocated())
    assert allocated[1] == allocated[2]


def test_channels_last_equals_the_default_layout(batch: tuple) -> None:
    images, samples = _to_gpu(batch)
    expected = _train(_initialized(ofd_distiller()).cuda(), (images, samples), 2)
    model = _initialized(ofd_distiller()).cuda().to(memory_format=torch.channels_last)
    actual = _train(model, (images.contiguous(memory_format=torch.channels_last), samples), 2)
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


def test_a_runner_trains_evaluates_and_resumes_on_a_gpu(tmp_path: Path) -> None:
    def model() -> nn.Module:
        return build_distillation(ofd_distiller(), _scope_='mmrazor')

    runner = toy_runner(
        model(),
        tmp_path,
        custom_hooks=[dict(type='EMAHook', update_buffers=True)],
        val_cfg=dict(type='mmrazor.SingleTeacherDistillValLoop'),
        train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=1),
    )
    teacher = copy.deepcopy(runner.model.teacher.state_dict())
    runner.train()
    assert next(runner.model.parameters()).is_cuda
    after: dict[str, Tensor] = {key: value.cpu() for key, value in runner.model.teacher.state_dict().items()}
    assert all(torch.equal(after[key], value.cpu()) for key, value in teacher.items() if 'num_batches' in key)
    resumed = toy_runner(model(), tmp_path, resume=True, experiment_name='resumed')
    resumed.train()
    assert resumed.epoch == 2
