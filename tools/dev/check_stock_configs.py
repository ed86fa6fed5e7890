"""Check that ClassCountHook accepts all configs of the installed OpenMMLab packages with the data sets that they name.

    python tools/dev/check_stock_configs.py [PACKAGE ...]

Models are built without backbones, and no annotation file is read. The exit status is 1 if a config is refused.
"""

import argparse
import sys

from rich.progress import track

from lckd_mm.analysis.stock_configs import PACKAGES, check_files, report, stock_configs


def main() -> None:
    """Print the summary, the configs that are refused and those that cannot be built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('packages', nargs='*', metavar='PACKAGE', help=f'packages; default: {", ".join(PACKAGES)}')
    args = parser.parse_args()
    paths = stock_configs(args.packages or PACKAGES)
    text, is_accepted = report(track(check_files(paths), description='configs', total=len(paths)))
    print(text)
    if not is_accepted:
        sys.exit(1)


if __name__ == '__main__':
    main()
