"""Measure training steps in one process and in several, of a student alone and of its distillation."""

from lckd_mm.cli.benchmark_scaling import main
from lckd_mm.cli.entry import run_verb

if __name__ == '__main__':
    run_verb(main)
