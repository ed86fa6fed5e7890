"""Measure the gradient of each loss of a distillation."""

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.gradients import main

if __name__ == '__main__':
    run_verb(main)
