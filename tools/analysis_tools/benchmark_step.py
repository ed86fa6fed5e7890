"""Measure whole training steps of LCKD and of methods of MMRazor."""

from lckd_mm.cli.benchmark_step import main
from lckd_mm.cli.entry import run_verb

if __name__ == '__main__':
    run_verb(main)
