"""The type of ``--cfg-options`` and similar arguments."""

import argparse
from typing import Any, NoReturn

from lckd_mm.analysis.option_values import parse_value
from lckd_mm.errors import ConfigValueError


class OptionsAction(argparse.Action):
    """Parses ``KEY=VALUE ...`` as mmengine's ``DictAction``, but keeps the spaces in values: see :func:`parse_value`."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Add the values to the namespace.

        Args:
            parser (ArgumentParser): The parser.
            namespace (Namespace): Receives the dict.
            values (Sequence[str]): The values.
            option_string (str, optional): The option. Defaults to None.
        """
        options = dict(getattr(namespace, self.dest, None) or {})
        for value in values:
            key, equals, text = value.partition('=')
            if not equals:
                _reject(
                    parser,
                    f'argument {option_string}: {value!r} is not KEY=VALUE: write KEY=VALUE, and other arguments before this one.',
                )
            try:
                options[key] = parse_value(text)
            except ConfigValueError as error:
                _reject(parser, f'argument {option_string}: {error}')
        setattr(namespace, self.dest, options)


def _reject(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    parser.error(message)
