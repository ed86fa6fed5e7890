"""Lipschitz-guided knowledge distillation (LCKD) for OpenMMLab models.

Importing lckd_mm checks the dependencies, applies the patches of :mod:`lckd_mm.compat`, and registers all components. The
bundled demonstration data set, :mod:`lckd_mm.datasets`, is not imported: it needs scikit-learn.
"""

import sys

from .cli.dispatch import is_program, needs_dependencies
from .dependencies import check_dependencies
from .version import __version__

# Help texts and error messages of the command line appear at once, and without the dependencies.
if needs_dependencies(sys.argv, sys.orig_argv):
    try:
        check_dependencies()
    except ImportError as error:
        if not is_program(sys.argv, sys.orig_argv):
            raise
        print(error, file=sys.stderr)
        sys.exit(2)

    from . import compat

    compat.apply()

    from . import checkpoint, engine, errors, models, spectral

__all__ = ['__version__', 'checkpoint', 'compat', 'engine', 'errors', 'models', 'spectral']
