"""`python -m lckd_mm TOOL ARGUMENTS` runs a tool of the package, from wherever lckd_mm is installed.

Examples:
    python -m lckd_mm train lckd_mm::voc/lckd_faster_rcnn.py --work-dir work_dirs/mine
"""

import difflib
import runpy
import sys
from pathlib import Path
from typing import List, Optional

TOOLS = Path(__file__).resolve().parent / '.mim' / 'tools'


def main(arguments: Optional[List[str]] = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    tools = {str(path.relative_to(TOOLS).with_suffix('')): path for path in sorted(TOOLS.rglob('*.py'))}
    name = arguments[0].removesuffix('.py') if arguments else ''
    if name not in tools:
        near = difflib.get_close_matches(name, tools, n=1)
        sys.exit(
            f'python -m lckd_mm runs a tool of the package, and {name!r} is none: '
            + (f'did you mean {near[0]!r}? ' if near else '')
            + f'There are {", ".join(tools) or f"none, for {TOOLS} is missing: install lckd_mm with pip"}.'
        )
    sys.argv = [str(tools[name]), *arguments[1:]]
    runpy.run_path(str(tools[name]), run_name='__main__')


if __name__ == '__main__':
    main()
