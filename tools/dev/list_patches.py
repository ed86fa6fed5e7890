"""Print the table of docs/patches.md: the patches of lckd_mm.compat, and the stacks that need them.

python tools/dev/list_patches.py
"""

import argparse

from lckd_mm.compat import PATCHES
from lckd_mm.dependencies import FRAMEWORKS, STACKS


def make_table() -> str:
    """Return the table in Markdown."""
    rows = [['patch', *STACKS, 'without it'], ['---', *(':---:' for _ in STACKS), '---']]
    for patch in PATCHES.values():
        stacks = patch.versions if patch.library in FRAMEWORKS else STACKS
        marks = ['yes' if stack in stacks else '' for stack in STACKS]
        rows.append([f'`{patch.name}`', *marks, patch.reason.replace('|', '\\|')])
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


if __name__ == '__main__':
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(make_table())
