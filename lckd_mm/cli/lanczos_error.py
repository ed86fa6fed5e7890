"""Plot the error of the spectral norm by number of products and by ratio of the second to the first singular value."""

from collections.abc import Sequence
from pathlib import Path

from lckd_mm.analysis.lanczos_error import METHODS, measure_errors, plot_errors, print_errors

from .parser import VerbParser

EXAMPLES = {'the figure of the documentation': '{prog} docs/lanczos_error.png'}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Measure, print and plot the errors.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument('path', type=Path, metavar='PATH', help='the image file to write')
    args = parser.parse(arguments)
    errors = {method: measure_errors(method) for method in METHODS}
    for method in METHODS:
        print_errors(method, errors[method])
    plot_errors(errors, args.path)
