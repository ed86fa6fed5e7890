"""Measure whole trainings of a student alone, of its distillation, and of the same distillation by MMRazor's algorithm."""

from lckd_mm.cli.benchmark_runs import main
from lckd_mm.cli.entry import run_verb

if __name__ == '__main__':
    run_verb(main)
