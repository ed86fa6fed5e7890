"""Run a Python script with lckd_mm registered, as `python SCRIPT ARGUMENTS` would.

The script needs no import of lckd_mm. An example is the tools/train.py of a project that inherits configs of lckd_mm.
"""

import argparse
import builtins
import os
import sys
import types
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path

from lckd_mm.errors import ConfigFileNotFoundError

from .parser import VerbParser
from .search_path import replace_first_entry

EXAMPLES = {
    'the training script of the working directory, a checkout of lckd_mm or another project': (
        '{prog} tools/train.py configs/demo/resnet_w4_digits.py --work-dir work_dirs/mine'
    ),
    'two processes': (
        'torchrun --nproc_per_node=2 -m lckd_mm run tools/train.py configs/demo/resnet_w4_digits.py --launcher pytorch'
    ),
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the verb; the exit status is that of the script.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.

    Raises:
        ConfigFileNotFoundError: The script does not exist.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument('script', metavar='SCRIPT', help='path of the script')
    remainder = parser.add_argument(
        'arguments',
        nargs=argparse.REMAINDER,
        metavar='ARGUMENTS',
        help='the arguments of the script, options included',
    )
    # argparse would name them as missing if there is no script.
    remainder.required = False
    args = parser.parse(arguments)
    if not Path(args.script).is_file():
        raise ConfigFileNotFoundError(f'script {args.script!r} does not exist: give the path of a Python file.')
    run_script(args.script, args.arguments)


def run_script(script: str, arguments: Sequence[str]) -> None:
    """Run a script in this process, as the interpreter does: with its arguments, its folder on the path, and as ``__main__``.

    Args:
        script (str): Path of the script.
        arguments (Sequence[str]): Arguments of the script.
    """
    path = os.path.abspath(script)
    sys.argv = [script, *arguments]
    replace_first_entry(os.path.dirname(os.path.realpath(script)))
    # `runpy` gives neither the script as it is named to sys.argv nor its absolute path to __file__, and removes the module in the end.
    loader = SourceFileLoader('__main__', path)
    module = types.ModuleType('__main__')
    vars(module).update(__file__=path, __loader__=loader, __builtins__=builtins)
    sys.modules['__main__'] = module
    exec(loader.source_to_code(loader.get_data(path), path), vars(module))
