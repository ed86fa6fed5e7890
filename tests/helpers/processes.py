"""Python scripts in processes of their own."""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parents[1] / 'scripts'


def run_python(*arguments: Any, **environment: str) -> subprocess.CompletedProcess:
    """Run the interpreter of the tests without a GPU.

    Args:
        *arguments: Arguments of the interpreter.
        **environment: Environment variables.

    Returns:
        subprocess.CompletedProcess: Exit status and output.
    """
    variables = {**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1', **environment}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)


def run_with_compat(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess:
    """Run code in which `compat` is `lckd_mm.compat` without any patch applied."""
    start = f'import sys\nsys.path.insert(0, {str(SCRIPTS)!r})\nfrom bare_compat import load_compat\ncompat = load_compat()\n'
    return run_python(*options, '-c', start + code, **environment)


def run_processes(number: int, *command: Any, **environment: str) -> subprocess.CompletedProcess:
    """Run a script in several processes with `torchrun`, which selects a free port."""
    launcher = ('-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={number}')
    return run_python(*launcher, *command, **environment)


def run_forked(function: Callable[[], object]) -> int:
    """Call a function in a copy of this process, which may be killed.

    Args:
        function (Callable): The function.

    Returns:
        int: Exit status as of :mod:`subprocess`: 0, 1 after an exception, or minus the number of the signal.
    """
    process = os.fork()
    if process == 0:
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
