"""Export of the student from the checkpoint of a distillation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lckd_mm.atomic_files import check_overwriting
from lckd_mm.checkpoint import load_data, save_data
from lckd_mm.errors import CheckpointError, ConfigValueError
from lckd_mm.state_dicts import STUDENT_PREFIX, has_student, select_student, unwrap_keys

_META_KEYS = ('dataset_meta', 'epoch', 'iter')


def export_student(checkpoint: Path | str, out: Path | str, meta: Mapping[str, Any] | None = None) -> int:
    """Write the student of a distillation's checkpoint as a plain checkpoint, which the student's own config loads strictly.

    Args:
        checkpoint (Path | str): A checkpoint of a distillation.
        out (Path | str): The file to be written.
        meta (dict, optional): Further entries of its ``meta``, of plain data. Defaults to None.

    Returns:
        int: Number of tensors of the student.

    Raises:
        ConfigValueError: The checkpoint contains no student. Or the file to be written is the checkpoint itself, or exists and is no
            exported student but a checkpoint of a training, for example.
        CheckpointError: The checkpoint cannot be read.
    """
    check_overwriting('OUT', out, {'CHECKPOINT': checkpoint})
    _check_existing(Path(out))
    data = load_data(checkpoint, map_location='cpu')
    # EMAHook swaps the weights when a checkpoint is saved, so that `state_dict` contains the averaged ones.
    student = select_student(unwrap_keys(data.get('state_dict', data)))
    if not student:
        raise ConfigValueError(
            f'{str(checkpoint)!r} contains no student (no key begins with {STUDENT_PREFIX!r}): give a checkpoint of a distillation.'
        )
    kept = {key: value for key, value in data.get('meta', {}).items() if key in _META_KEYS}
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_data(dict(meta={**kept, **(meta or {})}, state_dict=student), out)
    return len(student)


def _check_existing(out: Path) -> None:
    """Check that an existing file is an exported student, which a new one may replace."""
    if out.is_dir():
        raise ConfigValueError(
            f'{str(out)!r} is a folder: give the path of a file, {str(out / "student.pth")!r} for example.'
        )
    if not out.is_file() or _is_export(out):
        return
    raise ConfigValueError(
        f'{str(out)!r} exists and is no exported student, but a checkpoint of a training or another file, which would be lost: choose '
        'another path, or delete it.'
    )


def _is_export(path: Path) -> bool:
    try:
        data = load_data(path, map_location='cpu', mmap=True)
    except CheckpointError:
        # An incomplete file of torch is of no use.
        with path.open('rb') as file:
            return file.read(2) in (b'', b'PK')
    if not isinstance(data, dict) or {'optimizer', 'message_hub'} & data.keys():
        return False
    return not has_student(unwrap_keys(data.get('state_dict', data)))
