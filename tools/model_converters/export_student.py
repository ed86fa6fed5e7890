"""Takes the student out of a distillation's checkpoint, as a plain checkpoint that the student's own config loads."""

import argparse
from pathlib import Path

import lckd_mm  # noqa: F401  (first: it mends the stack)
from lckd_mm.compat import load_data, save_data


def export_student(checkpoint: Path, out: Path) -> int:
    """Write the student of a distillation's checkpoint to ``out`` and return its number of keys.

    Raises:
        ValueError: The checkpoint is not that of a distillation.
    """
    loaded = load_data(checkpoint, map_location='cpu')
    # EMAHook swaps on saving: `state_dict` holds the averaged weights, the better ones.
    state = loaded.get('state_dict', loaded)
    prefix = 'architecture.'
    student = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    if not student:
        raise ValueError(
            f'{str(checkpoint)!r} holds no student (no key begins with {prefix!r}): give a checkpoint of a distillation.'
        )
    meta = {key: value for key, value in loaded.get('meta', {}).items() if key in ('dataset_meta', 'epoch', 'iter')}
    out.parent.mkdir(parents=True, exist_ok=True)
    save_data(dict(meta=meta, state_dict=student), out)
    return len(student)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path, help='a checkpoint of a distillation: work_dirs/.../epoch_4.pth')
    parser.add_argument('out', type=Path, help='where the student goes: student.pth')
    args = parser.parse_args()
    try:
        n_keys = export_student(args.checkpoint, args.out)
    except (OSError, ValueError, RuntimeError) as error:
        parser.error(str(error))
    print(f'{args.out}: the student, {n_keys} keys')


if __name__ == '__main__':
    main()
