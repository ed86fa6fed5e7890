"""Disable each patch of lckd_mm.compat in turn, and list the tests in tests/compat that fail without it.

    python tools/dev/disable_patches.py [PATCH ...] [--pytest='-n 2']

The exit status is 1 if a patch is found without which no test fails: it is either superfluous or not tested.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from lckd_mm.compat import DISABLE_VARIABLE, PATCHES

ROOT = Path(__file__).resolve().parents[2]


def failing_tests(disabled: str, pytest_arguments: list[str]) -> list[str]:
    """Return the tests that fail, and the files that cannot be imported, while patches are disabled."""
    # The patches for machines without a GPU are needed and tested there only.
    environment = {**os.environ, DISABLE_VARIABLE: disabled, 'CUDA_VISIBLE_DEVICES': '', 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, '-m', 'pytest', 'tests/compat', '-q', '-rfE', '--tb=no', '--no-header']
    command += ['-W', 'ignore', '--continue-on-collection-errors', *pytest_arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    # Test failures are 1; every other status is a mistake in the call.
    if done.returncode not in (0, 1):
        sys.exit(f'pytest ended with status {done.returncode}:\n{done.stdout}{done.stderr}')
    return re.findall(r'^(?:FAILED|ERROR) (?:tests/compat/)?(\S+?)(?: - .*)?$', done.stdout, re.MULTILINE)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('patches', nargs='*', metavar='PATCH', help='names of patches; all if none is given')
    parser.add_argument('--pytest', default='', metavar='ARGUMENTS', help="arguments of pytest, for example '-n 2'")
    args = parser.parse_args()
    pytest_arguments = shlex.split(args.pytest)
    unknown = sorted(set(args.patches) - set(PATCHES))
    if unknown:
        parser.error(f'unknown patch {unknown[0]!r}; valid: {", ".join(PATCHES)}')
    if failures := failing_tests('', pytest_arguments):
        sys.exit(f'tests fail with all patches applied: {", ".join(failures)}')
    untested = []
    for name in args.patches or PATCHES:
        failures = failing_tests(name, pytest_arguments)
        print(f'{name}: {len(failures)} failing', *failures, sep='\n    ', flush=True)
        if not failures:
            untested.append(name)
    if untested:
        sys.exit(f'no test fails without: {", ".join(untested)}')


if __name__ == '__main__':
    main()
