"""The console script ``lckd-mm``: ``python -m lckd_mm`` under a shorter name."""

import os

from . import dispatch
from .search_path import replace_first_entry


def main() -> None:
    """Run the verb that the first argument names.

    As with ``python -m``, modules in the working directory can be imported: `custom_imports` of configs names them.
    """
    replace_first_entry(os.getcwd())
    dispatch.main()
