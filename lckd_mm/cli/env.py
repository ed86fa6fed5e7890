"""Print the versions of this environment, what is missing, and the commands that install either stack.

The exit status is 1 if lckd_mm cannot be imported. The verb itself needs only the standard library.
"""

import platform
import sys
from collections.abc import Sequence

from lckd_mm.dependencies import (
    FRAMEWORKS,
    MMRAZOR,
    OPENCV,
    STACKS,
    TORCH,
    current_stack,
    find_distribution,
    find_problems,
    find_version,
    install_commands,
)
from lckd_mm.version import __version__

from .parser import VerbParser

EXAMPLES = {
    'both stacks': '{prog}',
    'the commands of the maintained fork only': '{prog} --stack onedl',
}


def describe_environment() -> list[str]:
    """Return the versions of Python, torch, OpenCV and the OpenMMLab packages.

    Returns:
        list[str]: The stack, then one line for each distribution.

    Example:
        >>> describe_environment()[0].startswith('lckd_mm ')
        True
    """
    lines = [f'lckd_mm {__version__}, Python {platform.python_version()}, stack: {current_stack()}']
    frameworks = [find_distribution(module) or distributions[STACKS[0]] for module, distributions in FRAMEWORKS.items()]
    names = [dependency.name for dependency in (*TORCH, *frameworks, MMRAZOR)]
    names += [name for name in OPENCV if find_version(name)] or [OPENCV[1]]
    return [*lines, *(f'{name} {find_version(name) or "is not installed"}' for name in [*names, 'numpy'])]


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Print the environment; the exit status is 1 if lckd_mm cannot be imported in it.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument('--stack', choices=STACKS, help='print the commands of this stack only (default: of both)')
    args = parser.parse(arguments)
    problems = find_problems(args.stack or STACKS[0])
    print('\n'.join(describe_environment()))
    print('\n'.join(['', 'Problems:', *(f'- {problem}' for problem in problems)] if problems else ['', 'No problems.']))
    for stack in [args.stack] if args.stack else STACKS:
        print(f'\nCommands that install the stack {stack} into an environment with torch, torchvision and lckd_mm:')
        print('\n'.join(f'    {command}' for command in install_commands(stack)))
    sys.exit(1 if problems else 0)
