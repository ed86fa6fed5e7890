"""``python -m lckd_mm VERB ARGUMENTS``; see :mod:`lckd_mm.cli.dispatch`."""

from lckd_mm.cli.dispatch import MODULE, main

if __name__ == '__main__':
    main(prog=f'python -m {MODULE}')
