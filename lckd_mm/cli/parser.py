"""The argument parser of all verbs."""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from lckd_mm.errors import unknown_name

from .entry import is_first_report


def shorten_path(argument: str) -> str:
    """Return an argument for a published record: of an absolute path, which belongs to one machine, the last part only.

    Args:
        argument (str): An argument, ``KEY=VALUE`` for example.

    Returns:
        str: The argument; relative paths and URLs are unchanged.

    Example:
        >>> shorten_path('/data/runs/first'), shorten_path('model.teacher_ckpt=/data/teacher.pth'), shorten_path('work_dirs/run')
        ('first', 'model.teacher_ckpt=teacher.pth', 'work_dirs/run')
    """
    key, is_option, value = argument.rpartition('=')
    return f'{key}{is_option}{Path(value).name if Path(value).is_absolute() else value}'


class VerbParser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, with the option nearest to an unknown one.

    Args:
        prog (str, optional): The command by which the process was started. Defaults to None, the name of the script.
        description (str, optional): Description of the program. Defaults to None.
        examples (Mapping[str, str], optional): Purpose and command line of each example, which is shown below the arguments.
            ``{prog}`` stands for ``prog``. Defaults to None.

    Example:
        >>> parser = VerbParser('lckd-mm compare', examples={'five seeds': '{prog} --seeds 5'})
        >>> _ = parser.add_argument('--seeds', type=int)
        >>> parser.parse(['--seeds', '3'])
        Namespace(seeds=3)
        >>> print(parser.epilog)
        examples:
          # five seeds
          lckd-mm compare --seeds 5
    """

    def __init__(
        self, prog: str | None = None, description: str | None = None, examples: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        if examples:
            lines = [f'  # {purpose}\n  {line.format(prog=self.prog)}' for purpose, line in examples.items()]
            self.epilog = '\n'.join(['examples:', *lines])

    def parse(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse arguments; an unknown option ends the process with status 2.

        Args:
            arguments (Sequence[str], optional): The arguments. Defaults to None, those of the process.

        Returns:
            Namespace: The values.
        """
        arguments = sys.argv[1:] if arguments is None else list(arguments)
        self._check_options(arguments)
        namespace, unknown = self.parse_known_args(arguments)
        for argument in unknown:
            if argument.startswith('-'):
                self._reject_option(argument)
            self.error(f'argument {argument!r} is not expected: remove it, or quote values that contain spaces')
        return namespace

    def command_line(self, arguments: Sequence[str] | None = None) -> str:
        """Return the command by which the program was started, for the record of a result.

        Args:
            arguments (Sequence[str], optional): The arguments. Defaults to None, those of the process.

        Returns:
            str: Program and arguments, quoted for a shell; of absolute paths the last part, see :func:`shorten_path`.

        Example:
            >>> VerbParser('python steps.py').command_line(['--steps', 'LCKD with PKD'])
            "python steps.py --steps 'LCKD with PKD'"
            >>> VerbParser('python /srv/tools/steps.py').command_line(['--out', '/srv/runs/steps'])
            'python steps.py --out steps'
        """
        given = sys.argv[1:] if arguments is None else arguments
        program = map(shorten_path, self.prog.split())
        return ' '.join([*program, *(shlex.quote(shorten_path(argument)) for argument in given)])

    def error(self, message: str) -> NoReturn:
        """End the process with one sentence; the base class prints the usage as well.

        Args:
            message (str): What is wrong.
        """
        end = '' if message.endswith('?') else '.'
        sentence = f'{message.rstrip(".")} ({self.prog} --help lists the arguments){end}'
        self.exit(2, f'{sentence}\n' if is_first_report(sentence) else None)

    def _check_options(self, arguments: Sequence[str]) -> None:
        """Report an unknown option before a missing argument, of which it is often the cause."""
        has_remainder = any(action.nargs == argparse.REMAINDER for action in self._actions)
        for previous, argument in zip(['', *arguments], arguments):
            # What follows belongs to another program, or has no options.
            if argument == '--' or (has_remainder and not argument.startswith('-')):
                return
            # argparse takes arguments with spaces as values, and accepts abbreviations.
            if argument.startswith('--') and ' ' not in argument:
                option = self._option_string_actions.get(previous)
                if option is not None and option.nargs is None:
                    self.error(
                        f'argument {previous}: a value is expected, not {argument!r}; a value that starts with "-" is written '
                        f'{previous}={argument}'
                    )
                name = argument.partition('=')[0]
                if not any(option.startswith(name) for option in self._option_string_actions):
                    self._reject_option(argument)

    def _reject_option(self, argument: str) -> NoReturn:
        self.error(unknown_name('option', argument.partition('=')[0], self._option_string_actions))


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``config`` and ``--cfg-options``.

    Args:
        parser (ArgumentParser): The parser.
    """
    # The verb `env` parses its arguments without mmengine.
    from .options_action import OptionsAction

    parser.add_argument(
        'config', metavar='CONFIG', help='a path, or a config of an installed package: lckd_mm::voc/lckd_faster_rcnn.py'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='overrides of the config: key=value, a.b=value, list=[a,b] or list=a,b, dict="{\'a\':1}"',
    )


def add_runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that ``train`` and ``test`` share.

    Args:
        parser (ArgumentParser): The parser.
    """
    add_config_arguments(parser)
    parser.add_argument(
        '--work-dir', metavar='DIR', help='folder of logs and results (default: work_dirs/<name of the config>)'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what has started the processes of a distributed run, as tools/dist_*.sh and tools/slurm_*.sh set it (default: none)',
    )
    # torch.distributed.launch passes --local_rank or, since torch 2.0, --local-rank; torchrun sets LOCAL_RANK.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, metavar='RANK', help='set by the launcher')
