"""Make the bundled demonstration set."""

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.make_demo_set import main

if __name__ == '__main__':
    run_verb(main)
