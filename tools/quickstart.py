"""Run the demonstration: a teacher, a student alone and the same student with LCKD on the bundled data set."""

import os
from pathlib import Path

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.quickstart import main

if __name__ == '__main__':
    # The demonstration uses the configs of the checkout.
    os.chdir(Path(__file__).resolve().parents[1])
    run_verb(main)
