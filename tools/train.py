"""Train a config: a distillation, or a plain model."""

from lckd_mm.cli.entry import run_verb
from lckd_mm.cli.train import main

if __name__ == '__main__':
    run_verb(main)
