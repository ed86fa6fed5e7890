import copy
import logging
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

import torch
import torch.distributed as torch_dist
from mmengine.config import Config
from mmengine.dist import broadcast
from mmengine.hub import get_config
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader
from mmrazor.models.algorithms import SingleTeacherDistill
from mmrazor.models.utils import add_prefix
from mmrazor.registry import MODELS
from torch import Tensor, nn

from ..task_modules import ForwardStop


@MODELS.register_module()
class LipschitzDistill(SingleTeacherDistill):
    """A ``SingleTeacherDistill`` whose teacher is surely loaded and runs only as far as its last recorded layer.

    Nothing that a feature distillation uses is computed after that layer. The teacher's weights come from its own
    checkpoint at ``init_weights``, which every mmengine training calls before its first step; so evaluating a distilled
    student needs no teacher file, and the checkpoints of a training hold the student and the adapters alone.

    Args:
        architecture (dict | BaseModel): The student: a model config, a built model, or
            ``dict(cfg_path='mmdet::...', cfg_options={...})``, a config of an installed package (or a path) whose
            ``model`` is built with ``cfg_options`` laid over it: ``{'roi_head.bbox_head.num_classes': 3}``.
        teacher (dict | BaseModel): The teacher, likewise.
        distiller (dict): Usually a :class:`LipschitzDistiller`; a ``ConfigurableDistiller`` works too.
        teacher_ckpt (str, optional): The teacher's checkpoint, a path or a URL, loaded strictly. A checkpoint of a
            distillation gives its student. Defaults to None.
        allow_random_teacher (bool): Whether to train without ``teacher_ckpt``, against whatever the teacher's own
            initialisation gives. Defaults to False.
        teacher_norm_eval (bool): Whether the frozen teacher is in evaluation mode: running statistics, no dropout.
            Defaults to True.
        data_preprocessor (dict | nn.Module, optional): What prepares the images of both networks; a dict without ``type``
            is one of the student's. Defaults to None, the student's own.
        **kwargs: As in ``SingleTeacherDistill``.

    Raises:
        ValueError: At ``init_weights``: no ``teacher_ckpt``, an unreadable one, or one that does not match; at
            construction: what the distiller finds wrong.
        FileNotFoundError: ``teacher_ckpt`` does not exist.
        RuntimeError: A training step before ``init_weights``.
    """

    def __init__(
        self,
        architecture: Union[BaseModel, Dict],
        teacher: Union[BaseModel, Dict],
        distiller: Dict,
        teacher_ckpt: Optional[str] = None,
        allow_random_teacher: bool = False,
        teacher_norm_eval: bool = True,
        data_preprocessor: Optional[Union[nn.Module, Dict]] = None,
        **kwargs: Any,
    ) -> None:
        self._teacher_ready = False
        architecture = build_model(architecture)
        # The random numbers that come next where the student is trained alone.
        self._student_rng = torch.get_rng_state()
        teacher = build_model(teacher)
        if isinstance(data_preprocessor, dict) and 'type' not in data_preprocessor:
            # What a config of a data set says at its top level, of the pixels alone.
            data_preprocessor = dict(data_preprocessor, type=type(architecture.data_preprocessor))
        super().__init__(
            architecture=architecture,
            teacher=teacher,
            distiller=distiller,
            teacher_ckpt=None,
            teacher_norm_eval=teacher_norm_eval,
            data_preprocessor=data_preprocessor,
            **kwargs,
        )
        self.teacher_ckpt = teacher_ckpt
        self.allow_random_teacher = allow_random_teacher
        self._teacher_stop: Optional[ForwardStop] = None
        self._set_teacher_stop()
        self._compare_pixels()
        self.train(self.training)

    def _set_teacher_stop(self) -> None:
        if self._teacher_stop is not None:
            self._teacher_stop.remove()
        # A delivery hands something of the teacher's to the student, and may come after the last record.
        if hasattr(self.distiller, 'forward_stop') and not self.distiller.deliveries.deliveries:
            self._teacher_stop = self.distiller.forward_stop(self.teacher, from_student=False)

    def _compare_pixels(self) -> None:
        """Say it where the teacher is shown pixels normalised otherwise than its own config says."""
        own = getattr(self.teacher, 'data_preprocessor', None)
        for name in ('mean', 'std'):
            shown, wanted = getattr(self.data_preprocessor, name, None), getattr(own, name, None)
            if isinstance(shown, Tensor) and isinstance(wanted, Tensor) and not torch.equal(shown.cpu(), wanted.cpu()):
                print_log(
                    f'The teacher sees pixels of {name} {shown.flatten().tolist()}, and its own config says '
                    f'{wanted.flatten().tolist()}: give both networks one data_preprocessor.',
                    logger='current',
                    level=logging.WARNING,
                )

    def init_weights(self) -> None:
        """Load the teacher, initialise the student, take the OFD margins from the teacher's BNs.

        The student's weights, and the random numbers of the training, are those that the same seed gives it alone.
        """
        if self.teacher_ckpt is not None:
            load_teacher(self.teacher, self.teacher_ckpt)
            self.teacher._is_init = True
        elif not self.allow_random_teacher:
            raise ValueError(
                'teacher_ckpt is None: the student would learn from a teacher that knows nothing; give the path or URL of '
                "the teacher's checkpoint, or allow_random_teacher=True if that is what you want."
            )
        torch.set_rng_state(self._student_rng)
        self.architecture.init_weights()
        self._student_rng = torch.get_rng_state()
        super().init_weights()
        torch.set_rng_state(self._student_rng)
        if torch_dist.is_available() and torch_dist.is_initialized():
            # The Runner sends rank 0's student to the others; the teacher is not in the state dict it sends.
            for tensor in self.teacher.state_dict().values():
                broadcast(tensor)
        if hasattr(self.distiller, 'follow'):
            self.distiller.follow(self.student, from_student=True)
            self.distiller.follow(self.teacher, from_student=False)
            self._set_teacher_stop()
        if hasattr(self.distiller, 'init_ofd_connectors'):
            self.distiller.init_ofd_connectors(self.teacher)
        self._teacher_ready = True

    def loss(self, batch_inputs: Tensor, data_samples: Optional[List] = None) -> Dict[str, Tensor]:
        """The student's own losses (``student.*``) and the distiller's (``distill.*``) of one batch.

        Args:
            batch_inputs (Tensor): (B, 3, H, W), preprocessed.
            data_samples (list, optional): The annotations. Defaults to None.

        Returns:
            Dict[str, Tensor]: Losses by name.
        """
        if not self._teacher_ready:
            raise RuntimeError('the teacher is not loaded yet: call init_weights() before the first training step.')
        if hasattr(self.distiller, 'extents'):
            self.distiller.extents = image_extents(batch_inputs, data_samples)
        if self.teacher_trainable or self._teacher_stop is None:
            return super().loss(batch_inputs, data_samples)

        with self.distiller.teacher_recorders, torch.no_grad():
            self._teacher_stop.run(self.teacher, batch_inputs, data_samples, mode='loss')
        losses = {}
        with self.distiller.student_recorders, torch.set_grad_enabled(self.student_trainable):
            student_losses = self.student(batch_inputs, data_samples, mode='loss')
        if self.calculate_student_loss:
            losses.update(add_prefix(student_losses, 'student'))
        if not self.distillation_stopped:
            losses.update(add_prefix(self.distiller.compute_distill_losses(), 'distill'))
        return losses

    def train(self, mode: bool = True) -> 'LipschitzDistill':
        """Set the student's and the distiller's mode; a frozen teacher stays in evaluation mode."""
        super().train(mode)
        if self.teacher_norm_eval and not self.teacher_trainable:
            self.teacher.eval()
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Dict[str, Tensor]:
        """The student and the distiller; a frozen teacher has a checkpoint of its own."""
        state = super().state_dict(*args, **kwargs)
        if not self.teacher_trainable:
            prefix = kwargs.get('prefix', '') + 'teacher.'
            for key in [key for key in state if key.startswith(prefix)]:
                del state[key]
        return state

    def _load_from_state_dict(self, state_dict: Dict, prefix: str, *args: Any, **kwargs: Any) -> None:
        # What a checkpoint leaves out is not missing: the teacher keeps what it has.
        if not self.teacher_trainable:
            for key, value in self.teacher.state_dict(prefix=prefix + 'teacher.').items():
                state_dict.setdefault(key, value)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def image_extents(batch_inputs: Tensor, data_samples: Optional[List]) -> Optional[Tensor]:
    """What part of a batch's height and width each of its images fills; the rest is padding.

    Args:
        batch_inputs (Tensor): (B, 3, H, W), padded to one size.
        data_samples (list, optional): What the data preprocessors of mmdet and mmsegmentation say of each image: ``img_shape``,
            its size, and that it was padded, ``pad_shape`` or ``batch_input_shape``.

    Returns:
        Tensor, optional: (B, 2), at most 1. None where all images fill the batch, or nothing is said of padding.
    """
    height, width = batch_inputs.shape[-2:]
    shapes = []
    for sample in data_samples or ():
        known = getattr(sample, 'metainfo', {})
        # A classifier's images are never padded, and their `img_shape` may be that of the file.
        if 'img_shape' not in known or not {'pad_shape', 'batch_input_shape'} & known.keys():
            return None
        shapes.append([min(known['img_shape'][0] / height, 1.0), min(known['img_shape'][1] / width, 1.0)])
    if len(shapes) != len(batch_inputs) or all(part == 1.0 for shape in shapes for part in shape):
        return None
    return torch.tensor(shapes).to(batch_inputs.device, non_blocking=True)


def build_model(model: Union[BaseModel, Dict]) -> BaseModel:
    """Build a model from ``dict(cfg_path=..., cfg_options=...)`` or from a model config.

    Args:
        model (dict | BaseModel): A built model is returned as it is. ``cfg_path`` is ``'package::path'`` or a file.

    Returns:
        BaseModel: The built model.

    Raises:
        ValueError: A key beside ``cfg_path`` and ``cfg_options``, or a config without ``model``.
        FileNotFoundError: There is no such config.
    """
    if not isinstance(model, dict):
        return model
    model = copy.deepcopy(model)
    if 'cfg_path' not in model:
        # A prefixed type alone would leave its defaults, the data preprocessor say, to be looked up in mmrazor's scope.
        scope, dot, _ = str(model.get('type', '')).partition('.')
        if dot and '_scope_' not in model:
            model['_scope_'] = scope
        return MODELS.build(model)

    cfg_path, cfg_options = model.pop('cfg_path'), model.pop('cfg_options', None) or {}
    unknown = set(model) - {'_scope_', 'type'}
    if unknown:
        raise ValueError(
            f'{sorted(unknown)} beside cfg_path={cfg_path!r}: a model named by its config takes `cfg_options` alone; write '
            f'cfg_options={{{sorted(unknown)[0]!r}: ...}}.'
        )
    package, colons, path = cfg_path.partition('::')
    try:
        config = get_config(cfg_path) if colons else Config.fromfile(cfg_path)
    except FileNotFoundError as error:
        where = f'the package {package!r} has no config {path!r}' if colons else f'there is no config {cfg_path!r}'
        raise FileNotFoundError(f'cfg_path={cfg_path!r}: {where}; look at its configs folder.') from error
    if 'model' not in config:
        raise ValueError(f'cfg_path={cfg_path!r} defines no `model`: name a config that does.')
    if config.get('data_preprocessor'):
        config.model.setdefault('data_preprocessor', config.data_preprocessor)
    config.merge_from_dict({f'model.{key}': value for key, value in cfg_options.items()})
    scope = package if colons else config.get('default_scope') or DefaultScope.get_current_instance().scope_name
    with DefaultScope.overwrite_default_scope(scope):
        return MMENGINE_MODELS.build(config.model)


def load_teacher(teacher: nn.Module, checkpoint: str) -> None:
    """Load a checkpoint into the teacher, strictly.

    Args:
        teacher (nn.Module): The teacher.
        checkpoint (str): Path or URL. Of a distillation's checkpoint the student (``architecture.*``) is taken.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or a key is missing, left over, or of another shape; says how many and which.
    """
    if '://' not in checkpoint and not Path(checkpoint).expanduser().is_file():
        raise FileNotFoundError(
            f'teacher_ckpt={checkpoint!r} does not exist (looked in {str(Path.cwd())!r}): train the teacher first, or give the '
            'path or URL of its checkpoint.'
        )
    try:
        loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='current')
        state = loaded.get('state_dict', loaded)
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError('it holds no state dict')
    except Exception as error:
        raise ValueError(f'teacher_ckpt={checkpoint!r} cannot be read: {error}') from error

    metadata = getattr(state, '_metadata', None)
    state = {key[7:] if key.startswith('module.') else key: value for key, value in state.items()}
    if any(key.startswith('architecture.') for key in state):
        state = {key[13:]: value for key, value in state.items() if key.startswith('architecture.')}
        metadata = None
    expected = teacher.state_dict()
    shapes = {k: (tuple(state[k].shape), tuple(expected[k].shape)) for k in expected if k in state}
    mismatched = [k for k, (found, wanted) in shapes.items() if found != wanted]
    if metadata is not None:
        # torch and mmdet rename the keys of older versions by it.
        state = type('StateDict', (dict,), {})(state)
        state._metadata = metadata
    result = None if mismatched else teacher.load_state_dict(state, strict=False)
    missing, unexpected = (
        ([k for k in expected if k not in state], [k for k in state if k not in expected])
        if result is None
        else (list(result.missing_keys), list(result.unexpected_keys))
    )
    # Checkpoints of before torch 0.4.1 have no counters, and no mode that is used here reads them; the pixel mean and
    # standard deviation belong to the config.
    missing = [k for k in missing if not k.endswith('num_batches_tracked') and not k.startswith('data_preprocessor.')]
    unexpected = [k for k in unexpected if not k.startswith('data_preprocessor.')]
    if mismatched or missing or unexpected:
        said = []
        if mismatched:
            found, wanted = shapes[mismatched[0]]
            said.append(
                f'{_some(mismatched)} have another shape ({mismatched[0]}: {found} in the file, {wanted} in the model)'
            )
        if missing:
            said.append(f'{_some(missing)} are missing')
        if unexpected:
            said.append(f'{_some(unexpected)} are not in the model')
        raise ValueError(
            f'teacher_ckpt={checkpoint!r} does not match the teacher: of its {len(expected)} keys {"; ".join(said)}; make the '
            "teacher's config the one it was trained with (number of classes, depth), through its cfg_options."
        )
    print_log(f'The teacher was loaded from {checkpoint}: all {len(expected)} keys match.', logger='current')


def _some(keys: List[str], at_most: int = 3) -> str:
    listed = ', '.join(keys[:at_most])
    return f'{len(keys)} ({listed}{", ..." if len(keys) > at_most else ""})'
