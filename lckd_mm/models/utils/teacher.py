"""Loading of the teacher's checkpoint."""

from collections.abc import Mapping
from pathlib import Path

from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from lckd_mm.errors import ConfigFileNotFoundError, ConfigValueError
from lckd_mm.state_dicts import has_student, select_student, unwrap_keys


def load_teacher(teacher: nn.Module, checkpoint: str) -> None:
    """Load a checkpoint into the teacher, strictly.

    Args:
        teacher (nn.Module): The teacher.
        checkpoint (str): Path or URL. From the checkpoint of a distillation the student (``architecture.*``) is loaded.

    Raises:
        ConfigFileNotFoundError: There is no such file.
        ConfigValueError: The file cannot be read, or keys are missing, unexpected or of a different shape; lists them.
    """
    state = _read_state(checkpoint)
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


def _read_state(checkpoint: str) -> Mapping[str, Tensor]:
    if '://' not in checkpoint and not Path(checkpoint).expanduser().is_file():
        raise ConfigFileNotFoundError(
            f'teacher_ckpt={checkpoint!r} does not exist (working directory: {str(Path.cwd())!r}): train the teacher first, or give the '
            'path or URL of its checkpoint.'
        )
    try:
        data = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='current')
        state = data.get('state_dict', data)
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError('it contains no state dict')
    except Exception as error:
        raise ConfigValueError(f'teacher_ckpt={checkpoint!r} cannot be read: {error}') from error
    state = unwrap_keys(state)
    return select_student(state) if has_student(state) else state


def _list_keys(keys: list[str], max_listed: int = 3) -> str:
    listed = ', '.join(keys[:max_listed])
    return f'{len(keys)} ({listed}{", ..." if len(keys) > max_listed else ""})'
