"""Measure every plan for a spectral norm, to check the choice of the cost model."""

from lckd_mm.cli.benchmark_plans import main
from lckd_mm.cli.entry import run_verb

if __name__ == '__main__':
    run_verb(main)
