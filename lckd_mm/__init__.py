"""Lipschitz-guided knowledge distillation (LCKD) for OpenMMLab models.

Importing lckd_mm checks the dependencies, applies the patches of :mod:`lckd_mm.compat`, and registers all components. The
bundled demonstration data set, :mod:`lckd_mm.datasets`, is not imported: it needs scikit-learn.
"""

import sys

from .cli.dispatch import needs_dependencies
from .dependencies import check_dependencies
from .version import __version__

# Help texts and error messages of the command line appear at once, and without the dependencies.
if needs_dependencies(sys.argv, sys.orig_argv):
    check_dependencies()

    from . import compat

    compat.apply()

    from . import checkpoint, engine, errors, models, spectral

__all__ = ['__version__', 'checkpoint', 'compat', 'engine', 'errors', 'models', 'spectral']
