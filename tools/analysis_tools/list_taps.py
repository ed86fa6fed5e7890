"""List the layers of a model that can be tapped; for a student and a teacher, suggest pairs."""

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.taps import main

if __name__ == '__main__':
    run_verb(main)
