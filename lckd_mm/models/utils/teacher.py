"""Loading of the teacher's checkpoint."""

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from lckd_mm.checkpoint_path import check_checkpoint_path
from lckd_mm.errors import ConfigValueError
from lckd_mm.state_dicts import has_student, select_student, unwrap_keys

# What MMRazor names the teacher in the checkpoint of a distillation.
_PREFIX = 'teacher.'


def initialize_teacher(
    teacher: nn.Module, checkpoint: str | None, init_cfg: Any = None, allow_random_teacher: bool = False
) -> bool:
    """Load the teacher from its checkpoint, or from that of a distillation of MMRazor, which contains its teacher.

    Args:
        teacher (nn.Module): The teacher.
        checkpoint (str, optional): ``teacher_ckpt``, see :func:`load_teacher`.
        init_cfg (dict, optional): ``init_cfg`` of the algorithm. Without ``checkpoint``, the teacher in the checkpoint that it names is
            loaded; MMRazor's second stages, ``abloss_logits_*.py`` for example, start from such a file. Defaults to None.
        allow_random_teacher (bool): Whether a teacher without a checkpoint is permitted. Defaults to False.

    Returns:
        bool: Whether the teacher was loaded.

    Raises:
        ConfigFileNotFoundError: There is no such file.
        ConfigValueError: There is no checkpoint and ``allow_random_teacher`` is False, or as in :func:`load_teacher`.
    """
    if checkpoint is not None:
        load_teacher(teacher, checkpoint)
        return True
    stages = [init_cfg] if isinstance(init_cfg, dict) else init_cfg or []
    for path in [stage['checkpoint'] for stage in stages if stage.get('type') == 'Pretrained']:
        prefix = 'teacher.'
        state = {
            key.removeprefix(prefix): value
            for key, value in _read_file(path, 'init_cfg checkpoint').items()
            if key.startswith(prefix)
        }
        if state:
            _load_state(teacher, state, path)
            return True
    if not allow_random_teacher:
        raise ConfigValueError(
            'teacher_ckpt is None, so that the student would learn from random weights: give the path or URL of the checkpoint of the '
            'teacher, or set allow_random_teacher=True.'
        )
    return False


def load_teacher(teacher: nn.Module, checkpoint: str) -> None:
    """Load a checkpoint into the teacher, strictly.

    Args:
        teacher (nn.Module): The teacher.
        checkpoint (str): Path or URL. From the checkpoint of a distillation the student (``architecture.*``) is loaded.

    Raises:
        ConfigFileNotFoundError: There is no such file.
        ConfigValueError: The file cannot be read, or keys are missing, unexpected or of a different shape; lists them.
    """
    state = _read_file(checkpoint)
    _load_state(teacher, select_student(state) if has_student(state) else state, checkpoint)


def warn_if_teacher_is_smaller(student: nn.Module, teacher: nn.Module) -> None:
    """Warn if the teacher has fewer parameters than the student."""
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in (student, teacher)]
    if sizes[1] < sizes[0]:
        print_log(
            f'The teacher has {sizes[1]} parameters and the student {sizes[0]}: are `teacher` and `architecture` exchanged?',
            logger='current',
            level=logging.WARNING,
        )


def _load_state(teacher: nn.Module, state: Mapping[str, Tensor], checkpoint: str) -> None:
    expected = teacher.state_dict()
    shapes = {key: (tuple(state[key].shape), tuple(expected[key].shape)) for key in expected if key in state}
    mismatched = [key for key, (actual, required) in shapes.items() if actual != required]
    if mismatched:
        missing, unexpected = [k for k in expected if k not in state], [k for k in state if k not in expected]
    else:
        result = teacher.load_state_dict(state, strict=False)
        missing, unexpected = list(result.missing_keys), list(result.unexpected_keys)
    # Checkpoints older than torch 0.4.1 have no counters, which no mode used here reads; pixel statistics belong to the config.
    missing = [k for k in missing if not k.endswith('num_batches_tracked') and not k.startswith('data_preprocessor.')]
    unexpected = [k for k in unexpected if not k.startswith('data_preprocessor.')]
    problems = []
    if mismatched:
        actual, required = shapes[mismatched[0]]
        problems.append(
            f'{_list_keys(mismatched)} have another shape ({mismatched[0]}: {actual} in the file, {required} in the model)'
        )
    if missing:
        problems.append(f'{_list_keys(missing)} are missing')
    if unexpected:
        problems.append(f'{_list_keys(unexpected)} are not in the model')
    if problems:
        raise ConfigValueError(
            f'teacher_ckpt={checkpoint!r} does not match the teacher: of its {len(expected)} keys {"; ".join(problems)}; use the config '
            'that the checkpoint was trained with (number of classes, depth), for example through `cfg_options` of the teacher.'
        )
    print_log(f'Loaded the teacher from {checkpoint}: all {len(expected)} keys match.', logger='current')


def _read_file(checkpoint: str, option: str = 'teacher_ckpt') -> Mapping[str, Tensor]:
    check_checkpoint_path(checkpoint, option, 'train the teacher first, or give the path or URL of its checkpoint')
    try:
        data = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='current')
        state = data.get('state_dict', data) if isinstance(data, Mapping) else None
        if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError('it contains no state dict')
    except Exception as error:
        reason = ' '.join(str(error).split()).rstrip('.')
        raise ConfigValueError(
            f'{option}={checkpoint!r} cannot be read: {reason}; give the path or URL of a checkpoint of the teacher.'
        ) from error
    return unwrap_keys(state)


def _list_keys(keys: list[str], max_listed: int = 3) -> str:
    listed = ', '.join(keys[:max_listed])
    return f'{len(keys)} ({listed}{", ..." if len(keys) > max_listed else ""})'
