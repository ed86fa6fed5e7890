"""Write the student of a distillation's checkpoint as a plain checkpoint."""

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.export import main

if __name__ == '__main__':
    run_verb(main)
