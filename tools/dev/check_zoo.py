"""Check that the models of the installed OpenMMLab packages can be distilled: find their taps and take one step.

    python tools/dev/check_zoo.py work_dirs/zoo.jsonl [PACKAGE ...]

One config is checked for each combination of model types, with random weights. The file has one result per line; a second run continues it.
"""

import argparse
import json
import logging
from pathlib import Path

from lckd_mm.analysis.stock_configs import PACKAGES, stock_configs
from lckd_mm.analysis.zoo import summarize, walk_zoo


def main() -> None:
    """Print each result, then the counts and the messages of all results in the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('results', type=Path, help='file of the results')
    parser.add_argument('packages', nargs='*', metavar='PACKAGE', help=f'packages; default: {", ".join(PACKAGES)}')
    parser.add_argument('--timeout', type=float, default=180, help='seconds for one model')
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    for record in walk_zoo(stock_configs(args.packages or PACKAGES), args.results, args.timeout):
        print(record['status'], record['config'], record.get('message', ''), flush=True)
    print(summarize(map(json.loads, args.results.read_text().splitlines())))


if __name__ == '__main__':
    main()
