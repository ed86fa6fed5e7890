"""Export of the student from the checkpoint of a distillation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lckd_mm.checkpoint import load_data, save_data
from lckd_mm.errors import ConfigValueError
from lckd_mm.state_dicts import STUDENT_PREFIX, select_student, unwrap_keys

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
        ConfigValueError: The checkpoint contains no student.
        CheckpointError: The checkpoint cannot be read.
    """
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
