"""Check that the models of the installed OpenMMLab packages can be distilled: find their taps and take a training step.

    python tools/dev/check_zoo.py docs/results/zoo.jsonl --page docs/zoo.md

One config is checked for each combination of model types, with random weights, in at most 60 s of CPU time and 8 GB of memory. The file has
one result per line; a second run continues it.
"""

import argparse
import hashlib
import logging
import tempfile
from pathlib import Path

from lckd_mm.analysis.stock_configs import PACKAGES, stock_configs
from lckd_mm.analysis.zoo import CPU_SECONDS, MEMORY_BYTES, read_plan, walk_zoo
from lckd_mm.analysis.zoo_report import render_page, summarize
from lckd_mm.atomic_files import check_overwriting, write_text
from lckd_mm.json_lines import read_json_lines


def main() -> None:
    """Print each result, then the counts and the messages of all results in the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('results', type=Path, help='file of the results')
    parser.add_argument('packages', nargs='*', metavar='PACKAGE', help=f'packages; default: {", ".join(PACKAGES)}')
    parser.add_argument('--cpu-seconds', type=float, default=CPU_SECONDS, help='limit of the CPU time of one model')
    parser.add_argument(
        '--plan', type=Path, help='file with the list of configs to check; default: one in the temporary folder'
    )
    parser.add_argument('--page', type=Path, help='page to write from all results')
    args = parser.parse_args()
    if args.page:
        check_overwriting('--page', args.page, {'RESULTS': args.results, '--plan': args.plan})
    logging.disable(logging.WARNING)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    packages = args.packages or PACKAGES
    paths = stock_configs(packages)
    digest = hashlib.sha256('\n'.join(map(str, paths)).encode()).hexdigest()[:12]
    plan = args.plan or Path(tempfile.gettempdir(), f'lckd_zoo_plan_{digest}.json')
    for record in walk_zoo(read_plan(paths, plan), args.results, args.cpu_seconds):
        print(record['status'], record['config'], record.get('message', ''), flush=True)
    records = read_json_lines(args.results)
    print(summarize(records))
    if args.page:
        write_text(args.page, render_page(records, args.cpu_seconds, MEMORY_BYTES))


if __name__ == '__main__':
    main()
