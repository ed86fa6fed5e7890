"""Write the student of a distillation's checkpoint as a plain checkpoint.

The student's own config loads it, in environments without lckd_mm as well.
"""

from collections.abc import Sequence
from pathlib import Path

from lckd_mm.errors import ConfigFileNotFoundError
from lckd_mm.models.utils import export_student

from .parser import VerbParser

EXAMPLES = {
    'the student of the bundled demonstration after its training': (
        '{prog} work_dirs/lckd_resnet_w16_w4_digits/epoch_6.pth student.pth'
    ),
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the verb.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.

    Raises:
        ConfigFileNotFoundError: The checkpoint does not exist.
        ConfigValueError: The file to be written would replace something else than an exported student.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument('checkpoint', type=Path, metavar='CHECKPOINT', help='path of a checkpoint of a distillation')
    parser.add_argument('out', type=Path, metavar='OUT', help='path of the file to write')
    args = parser.parse(arguments)
    if not args.checkpoint.is_file():
        raise ConfigFileNotFoundError(
            f'checkpoint {str(args.checkpoint)!r} does not exist: give the path of an existing file.'
        )
    num_keys = export_student(args.checkpoint, args.out)
    print(f'{args.out}: the student, {num_keys} keys')
