"""The argument parser of all verbs."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from mmengine.config import DictAction

from lckd_mm.errors import unknown_name


class VerbParser(argparse.ArgumentParser):
    """An argument parser that names the option nearest to an unknown one.

    Args:
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
        description (str, optional): Description of the program. Defaults to None.

    Example:
        >>> parser = VerbParser()
        >>> _ = parser.add_argument('--seeds', type=int)
        >>> parser.parse(['--seeds', '3'])
        Namespace(seeds=3)
    """

    def __init__(self, prog: str | None = None, description: str | None = None) -> None:
        self._options: list[str] = []
        super().__init__(prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """Add an argument as in the base class.

        Args:
            *args: As in the base class.
            **kwargs: As in the base class.

        Returns:
            argparse.Action: As in the base class.
        """
        action = super().add_argument(*args, **kwargs)
        self._options += action.option_strings
        return action

    def parse(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse arguments; an unknown option ends the process with status 2.

        Args:
            arguments (Sequence[str], optional): The arguments. Defaults to None, those of the process.

        Returns:
            Namespace: The values.
        """
        namespace, unknown = self.parse_known_args(arguments)
        for argument in unknown:
            if argument.startswith('-'):
                self.error(unknown_name('option', argument.partition('=')[0], self._options))
            self.error(f'argument {argument!r} is not expected: remove it, or quote values that contain spaces.')
        return namespace


class OptionsAction(DictAction):
    """Parses ``KEY=VALUE ...`` as mmengine's ``DictAction``, with an error message for values in another form."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Add the values to the namespace.

        Args:
            parser (ArgumentParser): The parser.
            namespace (Namespace): Receives the dict.
            values (Sequence[str]): The values.
            option_string (str, optional): The option. Defaults to None.
        """
        for value in values:
            if '=' not in value:
                _reject(parser, f'argument {option_string}: {value!r} cannot be read: write KEY=VALUE.')
        try:
            super().__call__(parser, namespace, values, option_string)
        # mmengine asserts that brackets are balanced.
        except AssertionError as error:
            _reject(
                parser, f'argument {option_string}: {error}; close every bracket, and quote the argument in a shell.'
            )


def _reject(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    parser.error(message)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``config`` and ``--cfg-options``.

    Args:
        parser (ArgumentParser): The parser.
    """
    parser.add_argument('config', help='a path, or a config of an installed package: lckd_mm::voc/lckd_faster_rcnn.py')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        help='overrides of the config: key=value, a.b=value, list=[a,b] or list=a,b, dict="{\'a\':1}"',
    )


def add_runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that ``train`` and ``test`` share.

    Args:
        parser (ArgumentParser): The parser.
    """
    add_config_arguments(parser)
    parser.add_argument(
        '--work-dir', help='folder of logs and results; the default is ./work_dirs/<name of the config>'
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes --local_rank or, since torch 2.0, --local-rank; torchrun sets LOCAL_RANK.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
