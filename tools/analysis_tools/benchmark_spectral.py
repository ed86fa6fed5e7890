"""Measure time, memory and error of the spectral norm."""

from lckd_mm.cli.benchmark_spectral import main
from lckd_mm.cli.entry import run_verb

if __name__ == '__main__':
    run_verb(main)
