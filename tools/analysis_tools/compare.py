"""Train variants with several seeds and compare a metric."""

from lckd_mm.cli.compare import main
from lckd_mm.cli.entry import run_verb

if __name__ == '__main__':
    run_verb(main)
