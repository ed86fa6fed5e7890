"""Measure the effect of padding on the spectral norms of a distillation."""

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.padding import main

if __name__ == '__main__':
    run_verb(main)
