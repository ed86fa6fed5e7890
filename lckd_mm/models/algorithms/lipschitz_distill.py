import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast, is_distributed
from mmengine.logging import print_log
from mmengine.model import BaseModel, PretrainedInit, revert_sync_batchnorm
from mmrazor.models.algorithms import SingleTeacherDistill
from mmrazor.models.utils import add_prefix
from mmrazor.registry import MODELS
from torch import Tensor, nn

from lckd_mm.errors import ConfigRuntimeError

from ..distillers import DistillerInterface, get_distiller_interface
from ..distillers.adapter_norms import allow_single_values, follow_sync_bn
from ..distillers.gradient_check import check_gradients, unchecked_losses
from ..distillers.probe import inplace_modules
from ..recorders import ForwardStop
from ..utils import (
    build_student,
    build_teacher,
    compute_valid_ratios,
    get_image_size,
    initialize_teacher,
    make_pixel_conversion,
    published_checkpoint,
    record_valid_shapes,
    warn_if_teacher_is_smaller,
)
from .compiled_networks import CompiledNetworks
from .student_attributes import StudentAttributes
from .teacher_execution import make_teacher_execution
from .zero_gradients import add_zero_gradients


@MODELS.register_module()
class LipschitzDistill(StudentAttributes, CompiledNetworks, SingleTeacherDistill):
    """A ``SingleTeacherDistill`` with a verified teacher, which runs only to its last recorded layer.

    The losses of the distiller use nothing that is computed after that layer. The teacher's weights are loaded from its checkpoint in
    ``init_weights``, which every training of mmengine calls before its first step. The evaluation of a distilled student therefore
    needs no teacher file, and the checkpoints of a training contain only the student and the adapters. An attribute that the algorithm
    does not have is that of the student, so that hooks which are written for the student work; see :class:`StudentAttributes`.

    A frozen teacher is no submodule: weight averages, optimizers, gradient clipping, the buckets of distributed training and state dicts
    do not contain it. It follows the model to devices and data types, and a copy of the model shares it.

    Args:
        architecture (dict | BaseModel): The student: a model config, a built model, or
            ``dict(cfg_path='mmdet::...', cfg_options={...})``, a config of an installed package (or a path) whose ``model`` is built
            with the overrides ``cfg_options``: ``{'roi_head.bbox_head.num_classes': 3}``, which a model config takes as well.
            ``pretrained=True`` beside ``cfg_path`` starts from the published weights of that config.
        teacher (dict | BaseModel): The teacher, in the same forms. It receives the pixels that it was trained with: the student's batch is
            converted to the normalization, the channel order and the pad value of the teacher's ``data_preprocessor``. A teacher without
            one receives the student's pixels.
        distiller (dict): Usually a :class:`LipschitzDistiller`; a ``ConfigurableDistiller`` works as well.
        teacher_ckpt (str, optional): The teacher's checkpoint, a path or a URL, loaded strictly. From the checkpoint of a distillation
            the student is loaded. Defaults to None, the published weights of a teacher with ``pretrained=True``.
        allow_random_teacher (bool): Whether to train without ``teacher_ckpt``, with the initial weights of the teacher. Defaults to
            False.
        teacher_norm_eval (bool): Whether the frozen teacher is in evaluation mode: running statistics, no dropout. Defaults to True.
        teacher_execution (dict, optional): How the frozen teacher computes, the options of :class:`.TeacherExecution`, for example
            ``dict(fold_bn=True, channels_last=True)``. Defaults to None.
        data_preprocessor (dict | nn.Module, optional): The preprocessor of both networks. Options without a ``type`` are passed to the
            student's preprocessor, as in a training of the student alone. Defaults to None, the student's preprocessor.
        **kwargs: As in ``SingleTeacherDistill``.

    Raises:
        ConfigValueError: At construction: a list of models as ``teacher`` or ``architecture``, data preprocessors that cannot be
            converted (std 0, other numbers of channels), and the configuration errors of the distiller. In ``init_weights``: no
            ``teacher_ckpt``, an unreadable one, or one that does not match.
        ConfigFileNotFoundError: ``teacher_ckpt`` does not exist.
        ConfigRuntimeError: A training step before ``init_weights``.
        ConfigValueError: In the first training step: a loss of positive weight has no gradient for any parameter of the student.
    """

    def __init__(
        self,
        architecture: BaseModel | dict,
        teacher: BaseModel | dict,
        distiller: dict,
        teacher_ckpt: str | None = None,
        allow_random_teacher: bool = False,
        teacher_norm_eval: bool = True,
        teacher_execution: dict | None = None,
        data_preprocessor: nn.Module | dict | None = None,
        **kwargs: Any,
    ) -> None:
        self._is_teacher_ready = False
        is_frozen = teacher_norm_eval and not kwargs.get('teacher_trainable', False)
        self._teacher_execution = make_teacher_execution(teacher_execution, is_frozen)
        self._student_ckpt = published_checkpoint(architecture)
        if teacher_ckpt is None:
            teacher_ckpt = published_checkpoint(teacher)
        architecture, data_preprocessor = build_student(architecture, data_preprocessor)
        student_inplace = set(inplace_modules(architecture))
        # The student's random numbers are those of a training without distillation.
        with torch.random.fork_rng(devices=[]):
            teacher, has_own_preprocessor = build_teacher(teacher)
            super().__init__(
                architecture=architecture,
                teacher=teacher,
                distiller={'_scope_': 'mmrazor', **distiller},
                teacher_ckpt=None,
                teacher_norm_eval=teacher_norm_eval,
                data_preprocessor=data_preprocessor,
                **kwargs,
            )
        follow_sync_bn(self.distiller, self.architecture)
        num_changed = len(student_inplace - set(inplace_modules(architecture)))
        if num_changed:
            print_log(
                f'{num_changed} in-place activations of the student compute out of place, so that they do not overwrite recorded maps '
                '(`module_inplace=True` leaves them as they are, except where they overwrite a tap).',
                logger='current',
            )
        if not self.teacher_trainable:
            self.__dict__['_frozen_teacher'] = self._modules.pop('teacher')
        self.teacher_ckpt = teacher_ckpt
        self.allow_random_teacher = allow_random_teacher
        self._losses_with_gradient: set[str] = set()
        self._teacher_stop: ForwardStop | None = None
        self._renew_teacher_stop()
        self._convert_pixels(has_own_preprocessor)
        warn_if_teacher_is_smaller(self.architecture, self.teacher)
        self.train(self.training)
        self._sets_student_attributes = True

    @property
    def teacher(self) -> BaseModel:
        """The teacher; a submodule only if it is trained."""
        return self._modules['teacher'] if 'teacher' in self._modules else self.__dict__['_frozen_teacher']

    @property
    def _distiller_interface(self) -> DistillerInterface:
        return get_distiller_interface(self.distiller)

    def _renew_teacher_stop(self) -> None:
        if self._teacher_stop is not None:
            self._teacher_stop.remove()
        self._teacher_stop = self._distiller_interface.make_teacher_stop(self.teacher)

    def _convert_pixels(self, has_own_preprocessor: bool) -> None:
        """Prepare the conversion of the batches to the pixels that the teacher was trained with."""
        if not has_own_preprocessor:
            print_log("The teacher has no data_preprocessor of its own: it receives the student's.", logger='current')
            self.teacher.data_preprocessor = self.data_preprocessor
        self.pixel_conversion = make_pixel_conversion(self.data_preprocessor, self.teacher.data_preprocessor)
        record_valid_shapes(self.data_preprocessor)

    def init_weights(self) -> None:
        """Load the teacher, initialize the student and the adapters, and compute the OFD margins from the teacher's BNs.

        The student's weights and the random numbers of the training are those of a training of the student alone with the same seed.
        """
        is_loaded = initialize_teacher(self.teacher, self.teacher_ckpt, self.init_cfg, self.allow_random_teacher)
        self.teacher._is_init |= is_loaded
        self.architecture.init_weights()
        if self._student_ckpt is not None:
            PretrainedInit(checkpoint=self._student_ckpt)(self.architecture)
        with torch.random.fork_rng(devices=[]):
            if not is_loaded and not self.teacher_trainable:
                self.teacher.init_weights()
            super().init_weights()
        if is_distributed():
            # The Runner broadcasts the state dict, which does not contain the teacher.
            for tensor in self.teacher.state_dict().values():
                broadcast(tensor)
        if not self.teacher_trainable and (get_device() == 'cpu' or not is_distributed()):
            # As the Runner does in submodules.
            self.__dict__['_frozen_teacher'] = revert_sync_batchnorm(self.teacher)
        # The Runner has replaced SyncBN by now.
        allow_single_values(self.distiller)
        distiller = self._distiller_interface
        distiller.reattach(self.student, self.teacher)
        self._renew_teacher_stop()
        distiller.init_ofd_connectors(self.teacher)
        inputs = distiller.make_random_inputs(self.teacher)
        self._teacher_execution.prepare(self.teacher, self.distiller.teacher_recorders, inputs)
        self._is_teacher_ready = True

    @torch.compiler.disable
    def loss(self, batch_inputs: Tensor, data_samples: list | None = None) -> dict[str, Tensor]:
        """Compute the student's losses (``student.*``) and the distiller's (``distill.*``) for one batch.

        Args:
            batch_inputs (Tensor): (B, C, H, W), preprocessed.
            data_samples (list, optional): The annotations. Defaults to None.

        Returns:
            dict[str, Tensor]: Losses by name.
        """
        if not self._is_teacher_ready:
            raise ConfigRuntimeError(
                'the teacher is not loaded yet: call init_weights() before the first training step.'
            )
        if self.distillation_stopped:
            return self._loss_without_distillation(batch_inputs, data_samples)
        examined = self.student_trainable and bool(unchecked_losses(self.distiller, self._losses_with_gradient))
        losses = self._run_teacher(self.pixel_conversion(batch_inputs, data_samples), data_samples, examined)
        # Deliveries hand the student what they have recorded in the teacher's forward pass.
        self.distiller.set_deliveries_override(True)
        with (
            self.distiller.student_recorders,
            self.distiller.deliveries,
            torch.set_grad_enabled(self.student_trainable),
            self._compiled(self.student, examined),
        ):
            student_losses = self.student(batch_inputs, data_samples, mode='loss')
        if self.calculate_student_loss:
            losses.update(add_prefix(student_losses, 'student'))
        valid_ratios = compute_valid_ratios(batch_inputs, data_samples)
        distill_losses = self._distiller_interface.compute_distill_losses(valid_ratios, get_image_size(batch_inputs))
        if self.student_trainable and torch.is_grad_enabled():
            check_gradients(distill_losses, self.distiller, self.student, self._losses_with_gradient)
        losses.update(add_prefix(distill_losses, 'distill'))
        return losses

    def _loss_without_distillation(self, batch_inputs: Tensor, data_samples: list | None) -> dict[str, Tensor]:
        """Return the losses after ``StopDistillHook``: those of the student alone, and of a teacher that is trained."""
        if not self.calculate_student_loss:
            raise ConfigRuntimeError(
                'the distillation is stopped, but calculate_student_loss=False leaves no loss of the student: set '
                'calculate_student_loss=True, or remove the StopDistillHook.'
            )
        self._distiller_interface.clear()
        losses: dict[str, Tensor] = {}
        if self.teacher_trainable:
            pixels = self.pixel_conversion(batch_inputs, data_samples)
            losses.update(add_prefix(self.teacher(pixels, data_samples, mode='loss'), 'teacher'))
        with torch.set_grad_enabled(self.student_trainable), self._compiled(self.student):
            losses.update(add_prefix(self.student(batch_inputs, data_samples, mode='loss'), 'student'))
        if is_distributed():
            # DistributedDataParallel waits for a gradient of each parameter.
            losses = add_zero_gradients(losses, self.distiller.parameters())
        return losses

    @property
    def has_unused_parameters(self) -> bool:
        """Whether a training step leaves parameters without a gradient, those of the student's head for example."""
        return not (self.calculate_student_loss and self.student_trainable)

    def _run_teacher(self, batch_inputs: Tensor, data_samples: list | None, examined: bool) -> dict[str, Tensor]:
        """Record the teacher; return its own losses if it is trained."""
        self.distiller.set_deliveries_override(False)
        with self.distiller.teacher_recorders, self.distiller.deliveries, self._compiled(self.teacher, examined):
            if self.teacher_trainable:
                return add_prefix(self.teacher(batch_inputs, data_samples, mode='loss'), 'teacher')
            stop, manager = self._teacher_stop, self.distiller.teacher_recorders
            forward = self.teacher if stop is None else functools.partial(stop.run, self.teacher)
            self._teacher_execution.run(forward, batch_inputs, data_samples, manager=manager, mode='loss')
        return {}

    def train(self, mode: bool = True) -> 'LipschitzDistill':
        """Set the mode of the student and the distiller; a frozen teacher stays in evaluation mode."""
        super().train(mode)
        if not self.teacher_trainable:
            self.teacher.train(mode and not self.teacher_norm_eval)
        return self

    def apply(self, fn: Callable[[nn.Module], None]) -> 'LipschitzDistill':
        """Call a function with every module, those of a frozen teacher included."""
        if not self.teacher_trainable:
            self.teacher.apply(fn)
        return super().apply(fn)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'LipschitzDistill':
        # `to`, `cuda`, `half` and similar methods convert the tensors of the submodules by this method.
        if recurse and not self.teacher_trainable:
            self.teacher._apply(fn)
        return super()._apply(fn, recurse)

    def __deepcopy__(self, memo: dict[int, Any]) -> 'LipschitzDistill':
        if not self.teacher_trainable:
            # A teacher without a data preprocessor of its own has that of this model, which is copied.
            own = set(self.modules())
            memo.update({id(module): module for module in self.teacher.modules() if module not in own})
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.__setstate__(copy.deepcopy(self.__dict__, memo))
        if not self.teacher_trainable:
            # The shared modules call the recorders of this model; those of the copy are registered beside them.
            for recorder in copied.distiller.teacher_recorders.recorders.values():
                recorder.prepare_from_model(copied.teacher)
            copied._renew_teacher_stop()
        return copied

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any, **kwargs: Any) -> None:
        # The teacher keeps its weights, although the checkpoints of MMRazor contain it.
        if not self.teacher_trainable:
            for key in [key for key in state_dict if key.startswith(f'{prefix}teacher.')]:
                del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
