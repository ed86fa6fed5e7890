"""The command line: ``lckd-mm VERB ARGUMENTS`` or ``python -m lckd_mm VERB ARGUMENTS``, wherever lckd_mm is installed.

Only the standard library is imported before a verb is known, so that help texts, error messages and ``env`` need no dependency.
"""

import importlib
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from lckd_mm.errors import ConfigKeyError, unknown_name
from lckd_mm.version import __version__

from .entry import run_verb

# Name of each verb, which is that of its module, and its description.
VERBS = {
    'distill': 'distill a student from a teacher, with two configs and a checkpoint',
    'train': 'train a config',
    'test': 'evaluate a checkpoint',
    'compare': 'train variants with several seeds and compare a metric',
    'taps': 'find the layers to compare in a model, or in a student and a teacher',
    'config': "print a config with its losses expanded to MMRazor's recorders, connectors and losses",
    'export': 'write the student of a distillation as a plain checkpoint',
    'gradients': 'measure the gradient of each loss of a distillation',
    'env': 'print the versions of this environment and the commands that install a stack',
    'padding': 'measure the effect of padding on the spectral norms',
    'run': 'run a script, such as the tools/train.py of another project, with lckd_mm registered',
}

# Name of the console script, see `project.scripts` in pyproject.toml, and of the module.
SCRIPT = 'lckd-mm'
MODULE = 'lckd_mm'

# Options in place of a verb.
_OPTIONS = ('-h', '--help', '-V', '--version')
# Verbs that run without the dependencies of lckd_mm.
_WITHOUT_DEPENDENCIES = ('env',)


def main(arguments: Sequence[str] | None = None, prog: str = SCRIPT) -> None:
    """Run the verb that the first argument names.

    Args:
        arguments (Sequence[str], optional): Verb and arguments. Defaults to None, those of the process.
        prog (str): The command by which the process was started, for help texts and messages. Defaults to ``'lckd-mm'``.
    """
    run_verb(_dispatch, arguments, prog)


def _dispatch(arguments: Sequence[str] | None, prog: str | None) -> None:
    verb, rest = _split(arguments or [])
    if verb in ('-h', '--help'):
        print(usage(prog))
    elif verb in ('-V', '--version'):
        print(f'{MODULE} {__version__}')
    elif verb not in VERBS:
        raise ConfigKeyError(_unknown_verb(verb, rest, prog))
    elif rest[:1] == [verb] and not os.path.exists(verb):
        raise ConfigKeyError(f'verb {verb!r} is given twice: write {_command(prog, rest)}.')
    else:
        importlib.import_module(f'lckd_mm.cli.{verb}').main(rest, f'{prog} {verb}')


def _split(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the verb, or the option in place of one, and its arguments."""
    arguments = list(arguments)
    # `torch.distributed.launch -m lckd_mm` puts it before the verb; the environment variable LOCAL_RANK has the same value.
    if arguments and re.match(r'--local[-_]rank=', arguments[0]):
        del arguments[0]
    if not arguments:
        return '--help', []
    if arguments[0] == 'help':
        # `help VERB` is `VERB --help`.
        return (arguments[1:] or ['--help'])[0], ['--help']
    return arguments[0], arguments[1:]


def _unknown_verb(verb: str, rest: list[str], prog: str | None) -> str:
    """Return the sentence for a first argument that is no verb."""
    if verb.startswith('-'):
        index = next((index for index, argument in enumerate(rest) if argument in VERBS), None)
        if not rest:
            return unknown_name('option', verb, _OPTIONS)
        # The options come last: some of them take any number of values.
        arguments = ['VERB', *rest, verb] if index is None else [*rest[index:], verb, *rest[:index]]
        return f'option {verb!r} is given where a verb is expected: write {_command(prog, arguments)}.'
    if verb.endswith(('.yml', '.yaml')):
        return f'{verb!r} is a file where a verb is expected: write {_command(prog, ["compare", verb, *rest])}.'
    if verb.endswith('.py') or '::' in verb:
        return f'{verb!r} is a config where a verb is expected: write {_command(prog, ["train", verb, *rest])}.'
    return unknown_name('verb', verb, VERBS)


def _command(prog: str | None, arguments: Sequence[str]) -> str:
    return f'`{prog} {shlex.join(arguments)}`'


def needs_dependencies(argv: Sequence[str], orig_argv: Sequence[str]) -> bool:
    """Return whether a process needs the components of lckd_mm: all but its command line for help, messages and ``env``.

    Args:
        argv (Sequence[str]): ``sys.argv`` while lckd_mm is imported.
        orig_argv (Sequence[str]): ``sys.orig_argv``, the arguments of the interpreter.

    Returns:
        bool: Whether it does.

    Example:
        >>> needs_dependencies(['-m', 'env'], ['python', '-W', 'ignore', '-m', 'lckd_mm', 'env'])
        False
        >>> needs_dependencies(['-m', 'train', 'env'], ['python', '-m', 'lckd_mm', 'train', 'env'])
        True
        >>> needs_dependencies(['bin/lckd-mm', '--version'], ['python', 'bin/lckd-mm', '--version'])
        False
        >>> needs_dependencies(['train.py', 'env'], ['python', 'train.py', 'env'])
        True
    """
    if not _is_command_line(argv, orig_argv):
        return True
    verb, _ = _split(argv[1:])
    return verb in VERBS and verb not in _WITHOUT_DEPENDENCIES


def _is_command_line(argv: Sequence[str], orig_argv: Sequence[str]) -> bool:
    program, *arguments = argv or ['']
    # Processes that multiprocessing spawns have `sys.argv` of their parents, but other arguments of the interpreter.
    started = list(orig_argv[len(orig_argv) - len(argv) - 1 :])
    is_module = started == ['-m', MODULE, *arguments]
    return is_module or (os.path.basename(program) == SCRIPT and started[1:] == [program, *arguments])


def is_program(argv: Sequence[str], orig_argv: Sequence[str]) -> bool:
    """Return whether a process runs the command line or a script in ``tools/``, which end with one sentence, and not a program of a user.

    Args:
        argv (Sequence[str]): ``sys.argv`` while lckd_mm is imported.
        orig_argv (Sequence[str]): ``sys.orig_argv``, the arguments of the interpreter.

    Returns:
        bool: Whether it does.

    Example:
        >>> is_program(['-m', 'train'], ['python', '-m', 'lckd_mm', 'train']), is_program(['train.py'], ['python', 'train.py'])
        (True, False)
    """
    package = Path(__file__).resolve().parents[1]
    folders = {(folder / 'tools').resolve() for folder in (package.parent, package / '.mim')}
    is_tool = bool(folders & set(Path((argv or [''])[0]).resolve().parents))
    return is_tool or _is_command_line(argv, orig_argv)


def usage(prog: str | None = SCRIPT) -> str:
    """Return the help text.

    Args:
        prog (str, optional): The command by which the process was started. Defaults to ``'lckd-mm'``.

    Returns:
        str: One line per verb.

    Example:
        >>> usage().splitlines()[6]
        '  train      train a config'
    """
    verbs = [f'  {name:10} {description}' for name, description in VERBS.items()]
    return '\n'.join(
        [
            f'usage: {prog} VERB ARGUMENTS',
            '',
            'Distill models of mmdet, mmseg and mmpretrain.',
            '\nverbs:',
            *verbs,
            '\noptions:',
            '  -h, --help     show this help text; VERB --help, or help VERB, shows that of a verb',
            '  -V, --version  show the version',
            '\nexamples:',
            f'  {prog} help train',
            f'  {prog} taps mmpretrain::resnet/resnet18_8xb16_cifar10.py',
        ]
    )
