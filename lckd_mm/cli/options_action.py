"""The type of ``--cfg-options`` and similar arguments."""

import argparse
from typing import Any, NoReturn

from mmengine.config import DictAction


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
                _reject(
                    parser,
                    f'argument {option_string}: {value!r} is not KEY=VALUE: write KEY=VALUE, and other arguments before this one.',
                )
        try:
            super().__call__(parser, namespace, values, option_string)
        # mmengine asserts that brackets are balanced.
        except AssertionError as error:
            _reject(
                parser, f'argument {option_string}: {error}; close every bracket, and quote the argument in a shell.'
            )


def _reject(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    parser.error(message)
