"""Evaluate a checkpoint as its config describes."""

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.test import main

if __name__ == '__main__':
    run_verb(main)
