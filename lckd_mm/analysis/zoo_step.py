"""A training step in which a model is distilled from a model of the same config, and what it must leave as it was."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmrazor.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lckd_mm.models.distillers.probe import evaluating

from .forward_trace import image_size, trace_model
from .tap_finder import Tap
from .tap_pairs import select_pairs
from .zoo_batch import AnnotationOptions, synthetic_batch
from .zoo_models import describe

# The loss is a squared relative difference of norms, and float32 has a relative precision of 1e-7.
_EQUAL_LOSS = 1e-9


# Smallest variance of a channel over the mean of its layer.
_MIN_VARIANCE = 0.1


class StepResult(NamedTuple):
    """A step of a distillation.

    Attributes:
        taps: Taps of the student.
        size: Height and width of the images.
        step: ``'training'``, or ``'features'`` if the model's own losses cannot be computed.
        reason: Why the model's own losses cannot be computed: the exception of the model without distillation.
        gradient: Norm of the gradient of the Lipschitz loss with respect to the student's backbone.
        problems: What the step should not have changed, or is not equal in equal networks; empty if all is well.
    """

    taps: list[Tap]
    size: tuple[int, int]
    step: str
    reason: str
    gradient: float
    problems: list[str]


def distillation_step(
    student: BaseModel, teacher: BaseModel, options: AnnotationOptions | None = None, size: Sequence[int] | None = None
) -> StepResult:
    """Pair the taps of two models of one config, build their distillation, and take a step with the stock ``train_step``.

    Args:
        student (BaseModel): The model.
        teacher (BaseModel): A model of the same config with other weights.
        options (AnnotationOptions, optional): As in :func:`synthetic_batch`. Defaults to None.
        size (Sequence[int], optional): Height and width of the images. Defaults to None, as in :func:`find_taps`.

    Returns:
        StepResult: The taps and the results of the checks.

    Raises:
        ConfigError: The model is refused.
    """
    root = trace_model(student, size)
    size, shape = image_size(root), tuple(root.arguments[0].shape[1:])
    # Equal configs have equal forward passes.
    pairs = select_pairs(student, student, (root, root)).pairs
    # The graph of the traced forward pass is as large as the activations.
    del root
    for model in (student, teacher):
        # mmseg pads the batches of a training to the size of its crops.
        if getattr(model.data_preprocessor, 'size', None) is not None:
            model.data_preprocessor.size = size
    distiller = dict(
        type='LipschitzDistiller',
        student_taps=[tap.config for tap, _ in pairs],
        teacher_taps=[tap.config for _, tap in pairs],
        losses=['lipschitz'],
        probe_inputs=shape,
    )
    distillation = MODELS.build(
        dict(
            type='LipschitzDistill',
            architecture=student,
            teacher=teacher,
            distiller=distiller,
            allow_random_teacher=True,
        )
    )
    distillation.init_weights()
    batch = synthetic_batch(student, shape, options)
    for model in (student, teacher):
        _calibrate(model, batch)
    taps = [tap for tap, _ in pairs]
    return StepResult(taps, size, *_take_step(distillation, batch))


def _calibrate(model: BaseModel, batch: dict[str, list[Any]]) -> None:
    """Give the BNs of a model the statistics of a batch, as a trained network has.

    With the initial statistics, the maps of a deep network with frozen BNs overflow.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    images = model.data_preprocessor(_copy(batch), False)['inputs']
    with torch.no_grad(), evaluating(model), contextlib.suppress(Exception):
        for norm in norms:
            norm.training, norm.momentum = True, 1.0
        # A neck can have operations that do not run on this device.
        model.extract_feat(images)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
        # Channels that are constant in two images would have a gain of 1 / sqrt(eps), more than 300.
        variance: Any = norm.running_var
        variance.copy_(torch.where(variance > 0, variance.clamp(min=_MIN_VARIANCE * float(variance.mean())), 1.0))


def _take_step(distillation: BaseModel, batch: dict[str, list[Any]]) -> tuple[str, str, float, list[str]]:
    """Take a training step; return the kind of the step, the reason, the norm of the gradient, and the problems."""
    student, teacher = distillation.architecture, distillation.teacher
    distillation.train()
    before = {name: tensor.detach().clone() for name, tensor in _tensors(teacher)}
    optimizer = torch.optim.SGD([p for p in distillation.parameters() if p.requires_grad], lr=0.01)
    gradients: list[float] = []
    stray: list[str] = []
    # `train_step` clears the gradients after the step.
    optimizer.register_step_pre_hook(lambda *_: stray.extend(_stray_gradients(distillation)))
    backbone = [p for p in getattr(student, 'backbone', student).parameters() if p.requires_grad]

    def measure(loss: nn.Module, inputs: Any, output: Tensor) -> None:
        # The distiller computes the loss once without a graph where it could not check the taps before.
        if not output.requires_grad:
            return
        found = torch.autograd.grad(output.sum(), backbone, retain_graph=True, allow_unused=True)
        norms = [gradient.double().norm() for gradient in found if gradient is not None]
        gradients.append(float(torch.stack(norms).norm()) if norms else 0.0)

    handle = distillation.distiller.distill_losses['loss_lipschitz'].register_forward_hook(measure)
    kind, reason = 'training', ''
    try:
        with _counting():
            distillation.train_step(_copy(batch), OptimWrapper(optimizer))
    except Exception:
        reason = _own_problem(student, batch)
        if not reason:
            raise
        kind = 'features'
    if kind == 'features':
        # The losses of the model itself cannot be computed here, so that the step has the Lipschitz loss alone.
        distillation.distiller.clear()
        optimizer.zero_grad()
        gradients.clear()
        loss = torch.stack(list(_lipschitz_losses(distillation, batch).values())).sum()
        loss.backward()
        optimizer.step()
    handle.remove()
    problems = [*_shared(student, teacher), *_changed(teacher, before), *stray]
    problems += _unequal(distillation, batch, before)
    return kind, reason, gradients[0] if gradients else 0.0, problems


@contextlib.contextmanager
def _counting() -> Iterator[None]:
    """Provide the numbers of the epoch and the iteration, which some losses read, as a Runner does."""
    hub = MessageHub.get_current_instance()
    before = {key: hub.get_info(key) for key in ('epoch', 'iter', 'max_epochs', 'max_iters')}
    hub.update_info_dict(dict(epoch=0, iter=0, max_epochs=1, max_iters=1))
    try:
        yield
    finally:
        hub.update_info_dict(before)


def _copy(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return dict(
        inputs=[image.clone() for image in batch['inputs']],
        data_samples=[sample.clone() for sample in batch['data_samples']],
    )


def _own_problem(student: BaseModel, batch: dict[str, list[Any]]) -> str:
    """Return the exception that a model raises in a training step without distillation; empty if it raises none."""
    try:
        with _counting():
            losses = student(**student.data_preprocessor(_copy(batch), True), mode='loss')
            student.parse_losses(losses)[0].backward()
    except Exception as error:
        return describe(error)
    return ''


def _lipschitz_losses(distillation: BaseModel, batch: dict[str, list[Any]]) -> dict[str, Tensor]:
    """Return the Lipschitz loss of a forward pass to the taps."""
    images = distillation.data_preprocessor(_copy(batch), True)['inputs']
    distiller = distillation.distiller
    with distiller.teacher_recorders, torch.no_grad():
        _run_features(distillation.teacher, distiller.network_taps[False], images)
    with distiller.student_recorders:
        _run_features(distillation.architecture, distiller.network_taps[True], images)
    losses: dict[str, Tensor] = distiller.compute_distill_losses(image_size=tuple(images.shape[2:]))
    return losses


def _run_features(model: nn.Module, taps: Any, images: Tensor) -> None:
    extract_feat = getattr(model, 'extract_feat', None)
    error: Exception | None = None
    for forward in (extract_feat, getattr(model, 'backbone', None), model):
        if forward is None:
            continue
        taps.clear()
        try:
            forward(images)
        except Exception as failure:
            # A neck can have operations that do not run on this device; only the taps are needed.
            error = error or failure
        if all(map(taps.is_recorded, taps.taps)):
            return
    if error is not None:
        raise error


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters and buffers of a model, without its data preprocessor, which may be that of both networks."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if not name.startswith('data_preprocessor'):
            yield name, tensor


def _shared(student: nn.Module, teacher: nn.Module) -> list[str]:
    """Return the modules and the memory that two networks share, without the data preprocessor, which may be the student's."""
    own = {id(module) for name, module in student.named_modules() if not name.startswith('data_preprocessor')}
    modules = [name for name, module in teacher.named_modules() if id(module) in own]
    own = {tensor.untyped_storage().data_ptr() for _, tensor in _tensors(student) if tensor.numel()}
    tensors = [name for name, tensor in _tensors(teacher) if tensor.untyped_storage().data_ptr() in own]
    return [f'student and teacher share {name!r}' for name in (*modules, *tensors)]


def _changed(teacher: nn.Module, before: dict[str, Tensor]) -> list[str]:
    after = dict(_tensors(teacher))
    if after.keys() != before.keys():
        return [f'the teacher has other tensors: {sorted(after.keys() ^ before.keys())[:3]}']
    return [
        f'the step changes {name!r} of the teacher'
        for name, tensor in after.items()
        if not torch.equal(tensor.nan_to_num(), before[name].nan_to_num())
    ]


def _stray_gradients(distillation: BaseModel) -> list[str]:
    """Return the parameters outside of the student and the distiller that have gradients, and a student without any."""
    student = {id(parameter) for parameter in distillation.architecture.parameters() if parameter.grad is not None}
    allowed = student | {id(parameter) for parameter in distillation.distiller.parameters()}
    named = [*distillation.named_parameters(), *distillation.teacher.named_parameters()]
    stray = [name for name, parameter in named if parameter.grad is not None and id(parameter) not in allowed]
    return [f'{name!r} has a gradient' for name in stray] + ([] if student else ['the student has no gradient'])


def _unequal(distillation: BaseModel, batch: dict[str, list[Any]], weights: dict[str, Tensor]) -> list[str]:
    """Return whether the Lipschitz loss of networks of equal weights is not 0."""
    with torch.no_grad():
        # The state dict of a LoRA model has the trained tensors alone.
        for name, tensor in _tensors(distillation.architecture):
            tensor.copy_(weights[name])
        # Some models derive tensors from the weights when their mode changes.
        distillation.eval()
        loss = float(torch.stack(list(_lipschitz_losses(distillation, batch).values())).sum())
    distillation.distiller.clear()
    return [] if abs(loss) <= _EQUAL_LOSS else [f'the Lipschitz loss of equal networks is {loss:.2g}']
