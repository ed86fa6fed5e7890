"""The values of ``--cfg-options``, in the notation of mmengine's ``DictAction``."""

import ast
import re
from collections.abc import Iterator
from typing import Any

from mmengine.config import DictAction

from lckd_mm.errors import ConfigValueError

_BRACKETS = {'(': ')', '[': ']'}
_QUOTES = '\'"'


def parse_value(text: str) -> Any:
    """Parse the value of an option. Nothing in it is executed.

    mmengine's ``DictAction`` removes the spaces of every value and splits paths at commas. Here spaces inside a value stay, and a
    value in quotes is one string. Everything else is as in mmengine, numbers and lists in quotes included.

    Args:
        text (str): A number, ``True``, ``False``, ``None``, a string, a list ``[a,b]`` or ``a,b``, a tuple ``(a,b)``, or a dict literal.

    Returns:
        Any: The value.

    Raises:
        ConfigValueError: A bracket is not closed.

    Example:
        >>> parse_value('[(1, 2), [a, None], /data/my set]')
        [(1, 2), ['a', None], '/data/my set']
        >>> parse_value("'one, two.pth'"), parse_value('one,two')
        ('one, two.pth', ['one', 'two'])
        >>> parse_value("{'type': 'SGD', 'lr': 0.1}")
        {'type': 'SGD', 'lr': 0.1}
    """
    text = text.strip()
    if text.startswith('{') and text.endswith('}'):
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError):
            return text
    if len(text) > 1 and text[0] in _QUOTES and text.find(text[0], 1) == len(text) - 1:
        text = text[1:-1]
        is_list = text[:1] in _BRACKETS and text.endswith(_BRACKETS[text[0]])
        return parse_value(text) if is_list else DictAction._parse_int_float_bool(text)
    if ',' not in text and not (text[:1] in _BRACKETS and text.endswith(_BRACKETS[text[0]])):
        return DictAction._parse_int_float_bool(text)
    elements = list(_split(text))
    if len(elements) == 1 and text[0] in _BRACKETS and text.endswith(_BRACKETS[text[0]]):
        values = [parse_value(element) for element in _split(text[1:-1])]
        return tuple(values) if text[0] == '(' else values
    return [parse_value(element) for element in elements]


def _split(text: str) -> Iterator[str]:
    """Split a text at its commas outside of brackets and quotes; what follows the last comma is no element if it is empty."""
    closing: list[str] = []
    start = position = 0
    while position < len(text):
        char = text[position]
        # An apostrophe inside a name does not open a string.
        quoted = re.compile(rf'{char}[^{char}]*{char}(?=\s*[,)\]]|\s*$)') if char in _QUOTES else None
        opens = quoted and not text[:position].rstrip()[-1:].strip('([,') and quoted.match(text, position)
        if opens:
            position = opens.end()
            continue
        if char in _BRACKETS:
            closing.append(_BRACKETS[char])
        elif char in _BRACKETS.values():
            if not closing or closing.pop() != char:
                raise _unbalanced(text)
        elif char == ',' and not closing:
            yield text[start:position]
            start = position + 1
        position += 1
    if closing:
        raise _unbalanced(text)
    if text[start:].strip():
        yield text[start:]


def _unbalanced(text: str) -> ConfigValueError:
    return ConfigValueError(
        f'a bracket in {text!r} has no counterpart: close every bracket, and put a name with commas or brackets in quotes.'
    )


def format_value(value: Any) -> str:
    """Return the notation of a value that a YAML file contains.

    Args:
        value (Any): A list, number, boolean or None; a string is written as it is, unless it is an element of a list.

    Returns:
        str: The text, which :func:`parse_value` reads.

    Example:
        >>> format_value(['my set', 1, [None]])
        "['my set',1,[None]]"
        >>> parse_value(format_value(['my set', 1, [None]]))
        ['my set', 1, [None]]
    """
    return value if isinstance(value, str) else _format_element(value)


def _format_element(value: Any) -> str:
    return f'[{",".join(map(_format_element, value))}]' if isinstance(value, list) else repr(value)
