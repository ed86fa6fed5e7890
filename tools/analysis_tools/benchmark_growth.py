"""Measure how time and memory of the Lipschitz loss grow with its sizes."""

from lckd_mm.cli.benchmark_growth import main
from lckd_mm.cli.entry import run_verb

if __name__ == '__main__':
    run_verb(main)
