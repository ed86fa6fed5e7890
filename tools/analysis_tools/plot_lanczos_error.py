"""Plot the error of the spectral norm by number of products."""

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.lanczos_error import main

if __name__ == '__main__':
    run_verb(main)
