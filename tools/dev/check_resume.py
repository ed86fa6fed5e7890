"""Check that killed and resumed trainings are bit-identical to uninterrupted ones.

    python tools/dev/check_resume.py work_dirs/check_resume --kills 10

Small distillations of a detector, a segmentor and a classifier are killed with SIGKILL at random moments and resumed. Each mode is checked:
plain, with AMP, with accumulated gradients, and with a loop that counts iterations. The folder has one result per line in results.jsonl; a
second run continues it.
"""

import argparse
import importlib
import multiprocessing
import os
import runpy
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from lckd_mm.json_lines import append_json_line, read_json_lines  # noqa: E402
from tests.helpers.resume_cases import all_cases  # noqa: E402
from tests.helpers.resume_check import check_case  # noqa: E402

TRAIN = ROOT / 'tools' / 'train.py'


def start_training(arguments: list[str], log: Path) -> BaseProcess:
    """Run tools/train.py in a fork of this process, which has imported the libraries."""
    process = multiprocessing.get_context('fork').Process(target=_run_training, args=(arguments, log))
    process.start()
    return process


def _run_training(arguments: list[str], log: Path) -> None:
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.argv = [str(TRAIN), *arguments]
    runpy.run_path(str(TRAIN), run_name='__main__')


def main() -> None:
    """Print each result, then the number of cases with differences."""
    cases = {case.name: case for case in all_cases()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of the trainings and of the results')
    parser.add_argument('cases', nargs='*', metavar='CASE', help=f'default: {", ".join(cases)}')
    parser.add_argument('--kills', type=int, default=10, help='random moments for each case; default: 10')
    parser.add_argument('--seed', type=int, default=0, help='seed of the moments; default: 0')
    args = parser.parse_args()
    unknown = sorted(set(args.cases) - set(cases))
    if unknown:
        parser.error(f'unknown case {unknown[0]!r}; valid: {", ".join(cases)}')
    for name in ('mmdet.apis', 'mmpretrain.apis', 'mmseg.apis'):
        importlib.import_module(name)
    # The threads of a process do not exist in its fork.
    torch.set_num_threads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    results = args.folder / 'results.jsonl'
    records = read_json_lines(results)
    done = {(record['case'], record['seed'], len(record['kills'])) for record in records}
    for name in args.cases or cases:
        if (name, args.seed, args.kills) in done:
            continue
        record = check_case(cases[name], args.folder, args.kills, start_training, args.seed)
        records.append(record)
        append_json_line(results, record)
    print('case                      seed  kills  compared  differences  moments (s)')
    for record in records:
        moments = ' '.join(map(str, record['kills']))
        row = f'{record["case"]:24}  {record["seed"]:4}  {len(record["kills"]):5}  {record["compared"]:8}'
        print(f'{row}  {len(record["differences"]):11}  {moments}', *record['differences'][:5], sep='\n    ')
    raise SystemExit(any(record['differences'] for record in records))


if __name__ == '__main__':
    main()
