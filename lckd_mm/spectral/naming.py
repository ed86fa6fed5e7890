"""What to say about a name nobody knows."""

import difflib
from typing import Iterable


def unknown_name(what: str, name: object, valid: Iterable[str], at_most: int = 12) -> str:
    """One sentence with the wrong name, the valid ones (the nearest, where there are many) and the likely intention.

    Args:
        what (str): What the name is for: ``'method'``.
        name (object): The name given.
        valid (Iterable[str]): The names there are.
        at_most (int): With more valid names than this only near ones are listed. Defaults to 12.

    Returns:
        str: The sentence.
    """
    valid = list(valid)
    near = difflib.get_close_matches(str(name), valid, n=1 if len(valid) <= at_most else 5, cutoff=0.5)
    said = f'{what} {name!r} is unknown'
    if len(valid) <= at_most:
        said += f', there is {", ".join(map(repr, valid)) or "none"}'
    return f'{said}; did you mean {" or ".join(map(repr, near))}?' if near else f'{said}.'
