"""The wrapper of all command line programs, which turns configuration errors into one sentence."""

import contextlib
import hashlib
import os
import re
import select
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from lckd_mm.atomic_files import is_full_disk, write_sentence
from lckd_mm.errors import ConfigError

from .signals import handled_signals, release_frames

Main = Callable[[Sequence[str] | None, str | None], None]

# Older versions of mmengine add it to errors of constructors: "class `LipschitzLoss` in lckd_mm/models/losses/x.py: ".
_REGISTRY_PREFIX = re.compile(r'^(class `\w+` in \S+: )+')
# An error in a worker of a DataLoader is raised again with the traceback of the worker as its message.
_WORKER_TRACEBACK = 'Original Traceback (most recent call last):'
# "DataLoader worker (pid 42) is killed by signal: Killed. ", "DataLoader worker (pid(s) 42, 43) exited unexpectedly".
_DEAD_WORKER = re.compile(
    r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (is killed by signal: [\w ]+|exited unexpectedly)'
)


def run_verb(main: Main, arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run a verb; a configuration error ends the process with its sentence and exit status 2.

    With the environment variable ``LCKD_DEBUG=1`` the traceback is printed instead of the sentence. If the reader of the output is gone,
    as in ``python -m lckd_mm env | head -1``, the process ends silently with status 1, as Python's documentation of SIGPIPE recommends.

    Args:
        main (Main): The verb; it receives ``arguments`` and ``prog``.
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): The command by which the process was started. Defaults to None, ``python SCRIPT``.

    Raises:
        SystemExit: With status 2, for a :class:`ConfigError`, a full disk and a killed worker of a data loader; with status 1, if the
            output cannot be written to its pipe; with status 130 after an interrupt (Ctrl-C).

    Example:
        >>> from lckd_mm.errors import ConfigValueError
        >>> def main(arguments, prog):
        ...     raise ConfigValueError('depth=17 is unknown; valid: 18, 50.')
        >>> try:
        ...     run_verb(main, [])
        ... except SystemExit as end:
        ...     end.code
        2
    """
    try:
        # An error keeps its traceback, whatever becomes of the output.
        try:
            _run(main, arguments, prog)
        except SystemExit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except BrokenPipeError:
        closed = [stream for stream in (sys.stdout, sys.stderr) if _has_no_reader(stream)]
        if not closed:
            raise
        # Python flushes both streams at the end of the process.
        devnull = os.open(os.devnull, os.O_WRONLY)
        for stream in closed:
            os.dup2(devnull, stream.fileno())
        sys.exit(1)


def _run(main: Main, arguments: Sequence[str] | None, prog: str | None) -> None:
    if arguments is None:
        arguments = sys.argv[1:]
    if prog is None:
        prog = f'python {shlex.quote(sys.argv[0])}'
    received: list[int] = []
    try:
        with handled_signals(signal.SIGINT) as received:
            main(arguments, prog)
    except (KeyboardInterrupt, Exception) as error:
        # A terminal interrupts the processes of a training or of a data loader as well, which is an error of those that wait for them.
        if received or isinstance(error, KeyboardInterrupt):
            if os.environ.get('LCKD_DEBUG') == '1':
                raise
            release_frames(error)
            print('\nInterrupted; all files that were complete before are unchanged.', file=sys.stderr)
            sys.exit(130)
        sentence = config_error_sentence(error) or system_error_sentence(error)
        if sentence is None:
            raise
        if os.environ.get('LCKD_DEBUG') == '1':
            traceback.print_exc()
        elif is_first_report(sentence):
            print(sentence, file=sys.stderr)
        sys.exit(2)


def is_first_report(sentence: str) -> bool:
    """Return whether no other process of a training that `torchrun` has started on this machine reports the same sentence.

    Args:
        sentence (str): The sentence.

    Example:
        >>> is_first_report('depth=17 is unknown.')
        True
    """
    # The file error.json of each process is in a folder of its own, inside that of the training, which is temporary.
    error_file = os.environ.get('TORCHELASTIC_ERROR_FILE')
    if not error_file:
        return True
    name = f'reported_{hashlib.sha256(sentence.encode()).hexdigest()[:16]}'
    try:
        (Path(error_file).parents[1] / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True


def _has_no_reader(stream: TextIO) -> bool:
    poll = select.poll()
    # A stream that stands in for one of the process has no file descriptor.
    with contextlib.suppress(OSError):
        poll.register(stream.fileno(), 0)
    # These events are reported without being requested; POLLHUP is that of a socket.
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def config_error_sentence(error: BaseException) -> str | None:
    """Return the sentence of the configuration error that an exception is, or was caused by.

    Args:
        error (BaseException): The exception.

    Returns:
        str, optional: The sentence without what mmengine and torch add; None if no configuration error is involved.

    Example:
        >>> from lckd_mm.errors import ConfigValueError
        >>> config_error_sentence(ConfigValueError('class `Loss` in loss.py: weight=-1 is negative: use 0 or more.'))
        'weight=-1 is negative: use 0 or more.'
        >>> config_error_sentence(ValueError('weight=-1')) is None
        True
    """
    config_error = _find_config_error(error)
    if config_error is None:
        return None
    message = str(config_error).strip()
    if _WORKER_TRACEBACK in message:
        # The last line of a traceback: "lckd_mm.errors.ConfigValueError: <sentence>".
        message = message.splitlines()[-1].partition(': ')[2]
    return _REGISTRY_PREFIX.sub('', message)


def system_error_sentence(error: BaseException) -> str | None:
    """Return the sentence of an error of the machine: a full disk, exhausted memory, or a worker process that the system has ended.

    Args:
        error (BaseException): The exception.

    Returns:
        str, optional: The sentence; None for other errors.

    Example:
        >>> system_error_sentence(RuntimeError('DataLoader worker (pid 42) is killed by signal: Killed. '))[:74]
        'worker process 42 of a data loader has ended (is killed by signal: Killed)'
    """
    for cause in _causes(error):
        if is_full_disk(cause):
            return write_sentence(getattr(cause, 'filename', None) or os.getcwd(), cause)
        memory = _memory_sentence(cause)
        if memory is not None:
            return memory
        match = _DEAD_WORKER.search(str(cause)) if isinstance(cause, RuntimeError) else None
        if match is not None:
            return (
                f'worker process {match.group(1)} of a data loader has ended ({match.group(2)}), as it happens when the memory, or the '
                'shared memory in /dev/shm, is exhausted: lower num_workers or batch_size of the data loader; the checkpoints are '
                'unchanged, and `train --resume` continues from the last one.'
            )
    return None


def _memory_sentence(error: BaseException) -> str | None:
    """Return the sentence for exhausted memory of a GPU or of the machine, None for other errors."""
    message = ' '.join(str(error).split())
    # torch names the class `OutOfMemoryError`; for the memory of the machine it raises a RuntimeError.
    is_gpu = type(error).__name__ == 'OutOfMemoryError'
    is_machine = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and 'DefaultCPUAllocator' in message
    )
    if not is_gpu and not is_machine:
        return None
    request = re.search(r'[Tt]ried to allocate ([\d.]+ ?\w+)', message)
    size = f' for {request[1]}' if request else ''
    return (
        f'the memory of the {"GPU" if is_gpu else "machine"} is not sufficient{size}: reduce train_dataloader.batch_size or the size of '
        'the images, use --amp, or set with_cp=True in the backbone of the student.'
    )


def _find_config_error(error: BaseException) -> ConfigError | None:
    return next((cause for cause in _causes(error) if isinstance(cause, ConfigError)), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, and those from which it was raised."""
    visited: set[int] = set()
    while error is not None and id(error) not in visited:
        yield error
        visited.add(id(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
