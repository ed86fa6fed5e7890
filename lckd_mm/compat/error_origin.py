"""Where an error was raised: by a check of arguments, or by a mistake in the code."""

import dis
import linecache
import types
from collections.abc import Iterator

_CHECK_ERRORS = (AssertionError, ValueError, TypeError, KeyError, ImportError, RuntimeError)


def frames_of(error: BaseException) -> Iterator[types.FrameType]:
    """Yield the frames in which an error was raised, the innermost first.

    Args:
        error (BaseException): The error.
    """
    yield from reversed([traceback.tb_frame for traceback in _tracebacks(error)])


def is_argument_check(error: BaseException) -> bool:
    """Return whether an error that was raised while an object was built is about the arguments of the object.

    It is if a ``raise`` or an ``assert`` of another package is its origin, or if a constructor cannot compute with its arguments, as with
    ``loss_weight='high'``. All other errors are taken for mistakes in the code.

    Args:
        error (BaseException): The error.

    Example:
        >>> import torch
        >>> def error_of(lr):
        ...     try:
        ...         torch.optim.SGD([torch.zeros(1)], lr=lr)
        ...     except Exception as error:
        ...         return error
        >>> is_argument_check(error_of(-1)), is_argument_check(error_of('fast')), is_argument_check(NameError('x'))
        (True, True, False)
    """
    tracebacks = list(_tracebacks(error))
    if not tracebacks or not isinstance(error, _CHECK_ERRORS):
        return False
    frame, position = tracebacks[-1].tb_frame, tracebacks[-1].tb_lasti
    if dis.opname[frame.f_code.co_code[position]] == 'RAISE_VARARGS':
        # The errors of lckd_mm are configuration errors, and its assertions check its code.
        return frame.f_globals.get('__name__', '').partition('.')[0] != 'lckd_mm'
    return frame.f_code.co_name == '__init__' and isinstance(error, (TypeError, ValueError, KeyError))


def failed_condition(error: BaseException) -> str:
    """Return the condition of an assertion without a message; for other errors, the name of the class.

    Args:
        error (BaseException): The error.
    """
    for traceback in reversed(list(_tracebacks(error))):
        line = linecache.getline(traceback.tb_frame.f_code.co_filename, traceback.tb_lineno).strip()
        if line.startswith('assert '):
            return f'`{line.removeprefix("assert ")}` is required'
        break
    return type(error).__name__


def _tracebacks(error: BaseException) -> Iterator[types.TracebackType]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next
