"""Trains configs over several seeds and compares a metric: a table with mean and standard deviation, and a plot.

An arm of the comparison is '[NAME:] CONFIG [KEY=VALUE ...]', quoted; @FILE stands for the arms in a file, one a line, # for
comments. Runs that are in OUT/results.jsonl already are not repeated, those that were cut off are resumed:

    python tools/analysis_tools/compare.py @configs/cifar10/comparison.txt --seeds 0 1 2 --metric accuracy/top1 \\
        --out work_dirs/compare_cifar10
"""

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

warnings.filterwarnings('ignore')

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402
from rich.table import Table  # noqa: E402

from lckd_mm.engine.scalars import read_scalars  # noqa: E402

TRAIN = Path(__file__).resolve().parents[1] / 'train.py'


class Arm(NamedTuple):
    """One of the things that are compared."""

    name: str
    config: str
    options: Tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> 'Arm':
        """Of '[NAME:] CONFIG [KEY=VALUE ...]'."""
        name, colon, rest = text.partition(': ')
        words = shlex.split(rest if colon else text)
        if not words or any('=' not in option for option in words[1:]):
            raise argparse.ArgumentTypeError(f'{text!r} is no arm: write "[NAME:] CONFIG [KEY=VALUE ...]"')
        config, options = words[0], tuple(words[1:])
        return cls(name.strip() if colon else ' '.join((Path(config).stem, *options)), config, options)

    @property
    def slug(self) -> str:
        """A folder name."""
        return re.sub(r'[^A-Za-z0-9.]+', '_', self.name).strip('_')


class Parser(argparse.ArgumentParser):
    """Takes arms from @FILE too, one a line."""

    def convert_arg_line_to_args(self, arg_line: str) -> List[str]:
        line = arg_line.partition('#')[0].strip()
        return [line] if line else []


def main() -> None:
    parser = Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, fromfile_prefix_chars='@'
    )
    parser.add_argument('arms', nargs='+', type=Arm.parse, metavar='ARM')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--metric', required=True, help='as in the log: accuracy/top1, pascal_voc/mAP, mIoU')
    parser.add_argument('--out', type=Path, required=True, help='folder for results.jsonl, the runs, table and plot')
    parser.add_argument('--jobs', type=int, default=1, help='trainings at a time; they share the cores, or the GPUs')
    parser.add_argument('--train-args', default='', help='more arguments of tools/train.py, quoted: "--channels-last"')
    parser.add_argument('--report-only', action='store_true', help='train nothing, report what there is')
    args = parser.parse_args()
    names = [arm.name for arm in args.arms]
    if len(set(names)) < len(names):
        parser.error(f'two arms have one name: {sorted({n for n in names if names.count(n) > 1})}')
    args.out.mkdir(parents=True, exist_ok=True)

    failed = [] if args.report_only else train_all(args)
    results = list(read_results(args.out))
    report(args, {arm: [r for r in results if is_of(r, arm) and r['seed'] in args.seeds] for arm in args.arms})
    if failed:
        sys.exit('\n'.join(f'failed: {what}' for what in failed))


def read_results(out: Path) -> Iterator[dict]:
    path = out / 'results.jsonl'
    for line in path.read_text().splitlines() if path.exists() else ():
        yield json.loads(line)


def is_of(result: dict, arm: Arm) -> bool:
    return (result['config'], tuple(result['options'])) == (arm.config, arm.options)


def train_all(args: argparse.Namespace) -> List[str]:
    """Train what is missing, seed by seed, so that every arm has its first result early; return what failed."""
    done = list(read_results(args.out))
    missing = [
        (arm, seed)
        for seed in args.seeds
        for arm in args.arms
        if not any(is_of(r, arm) and r['seed'] == seed and r['metric'] == args.metric for r in done)
    ]
    failed: List[str] = []
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress, ThreadPoolExecutor(max(args.jobs, 1)) as pool:
        bar = progress.add_task('trainings', total=len(missing))
        futures = {pool.submit(train, args, arm, seed, i): (arm, seed) for i, (arm, seed) in enumerate(missing)}
        for future in as_completed(futures):
            arm, seed = futures[future]
            progress.advance(bar)
            try:
                result = future.result()
            except (RuntimeError, OSError) as error:
                failed.append(f'{arm.name}, seed {seed}: {error}')
                progress.console.print(f'[red]{arm.name}, seed {seed}: failed[/red]')
                continue
            with (args.out / 'results.jsonl').open('a') as file:
                file.write(json.dumps(result) + '\n')
            progress.console.print(f'{arm.name}, seed {seed}: {result["last"]:.4g}, best {result["best"]:.4g}')
    return failed


def train(args: argparse.Namespace, arm: Arm, seed: int, index: int) -> dict:
    """Train one arm with one seed and read its results."""
    work_dir = args.out / 'runs' / arm.slug / f'seed{seed}'
    work_dir.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    if torch.cuda.is_available():
        environment.setdefault('CUDA_VISIBLE_DEVICES', str(index % torch.cuda.device_count()))
    elif args.jobs > 1:
        environment.setdefault('OMP_NUM_THREADS', str(max((os.cpu_count() or 1) // args.jobs, 1)))
    command = [sys.executable, '-W', 'ignore', str(TRAIN), arm.config, '--work-dir', str(work_dir), '--resume']
    command += shlex.split(args.train_args)
    command += ['--cfg-options', f'randomness.seed={seed}', *arm.options]
    log, begun = work_dir / 'train.log', time.monotonic()
    with log.open('w') as file:
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False).returncode
    if status:
        last = next((line for line in reversed(log.read_text().splitlines()) if line.strip()), 'it said nothing')
        raise RuntimeError(f'{last} (all of it: {log})')
    scalars = read_scalars(work_dir)
    steps = sorted(step for step, reading in scalars.val.items() if args.metric in reading)
    if not steps:
        found = sorted({key for reading in scalars.val.values() for key in reading} - {'step'})
        raise RuntimeError(f'--metric {args.metric!r} was never measured, but {found} were')
    values = [scalars.val[step][args.metric] for step in steps]
    train_steps = sorted(scalars.train)
    times = sorted(scalars.train[step]['time'] for step in train_steps[1:] or train_steps)
    return dict(
        arm=arm.name,
        config=arm.config,
        options=list(arm.options),
        seed=seed,
        metric=args.metric,
        last=values[-1],
        best=max(values),
        steps=steps,
        values=values,
        seconds_per_iteration=times[len(times) // 2],
        minutes=(time.monotonic() - begun) / 60,
        first_losses=losses(scalars.train[train_steps[0]]),
        last_losses=losses(scalars.train[train_steps[-1]]),
    )


def losses(reading: dict) -> Dict[str, float]:
    return {key: value for key, value in reading.items() if 'loss' in key and isinstance(value, (int, float))}


def spread(values: List[float]) -> Tuple[float, Optional[float]]:
    """Mean and, of two or more, the sample's standard deviation."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def shown(values: List[float], sign: str = '') -> str:
    if not values:
        return '-'
    mean, deviation = spread(values)
    digits = 2 if abs(mean) > 1.5 or max(map(abs, values)) > 1.5 else 4
    return f'{mean:{sign}.{digits}f}' + ('' if deviation is None else f' ± {deviation:.{digits}f}')


def report(args: argparse.Namespace, results: Dict[Arm, List[dict]]) -> None:
    """Print the table, and write it and the plot into the folder."""
    first = {r['seed']: r['last'] for r in results[args.arms[0]]}
    against = f'last - {args.arms[0].name}'
    header = ('arm', 'seeds', f'{args.metric}, last', 'best', against, 's / iteration')
    rows = []
    for arm, found in results.items():
        gains = [r['last'] - first[r['seed']] for r in found if r['seed'] in first]
        rows.append(
            (
                arm.name,
                str(len(found)),
                shown([r['last'] for r in found]),
                shown([r['best'] for r in found]),
                '' if arm is args.arms[0] else shown(gains, '+'),
                f'{spread([r["seconds_per_iteration"] for r in found])[0]:.3f}' if found else '-',
            )
        )
    table = Table(title='mean ± standard deviation over the seeds; differences seed by seed')
    for column in header:
        table.add_column(column, justify='left' if column == 'arm' else 'right')
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    lines = [header, ('---',) * len(header), *rows]
    (args.out / 'table.md').write_text(''.join(f'| {" | ".join(line)} |\n' for line in lines))
    if any(results.values()):
        draw(args, results)
        print(f'{args.out / "table.md"}, {args.out / "comparison.png"}')


def draw(args: argparse.Namespace, results: Dict[Arm, List[dict]]) -> None:
    """Every seed's result with mean and deviation, and the mean over the training."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    drawn = {arm: found for arm, found in results.items() if found}
    colors = plt.get_cmap('tab10' if len(drawn) <= 10 else 'tab20').colors
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, max(3.2, 0.42 * len(drawn) + 1.2)), layout='constrained')
    for row, (arm, found) in enumerate(drawn.items()):
        color, values = colors[row % len(colors)], [r['last'] for r in found]
        mean, deviation = spread(values)
        left.errorbar(mean, row, xerr=deviation, fmt='|', color=color, markersize=16, capsize=4, linewidth=2)
        left.plot(values, [row] * len(values), 'o', color=color, alpha=0.6, markersize=5)
        steps = found[0]['steps']
        curves = [r['values'] for r in found if r['steps'] == steps]
        right.plot(
            steps, [statistics.fmean(column) for column in zip(*curves)], color=color, marker='.', label=arm.name
        )
    left.axvline(statistics.fmean(r['last'] for r in next(iter(drawn.values()))), color='grey', linestyle=':')
    left.set_yticks(range(len(drawn)), [arm.name for arm in drawn])
    left.invert_yaxis()
    left.set(xlabel=f'{args.metric}, last: every seed, mean, standard deviation')
    left.grid(axis='x', alpha=0.3)
    right.set(xlabel='epoch or iteration', ylabel=f'{args.metric}, mean over the seeds')
    right.grid(alpha=0.3)
    right.legend(fontsize=8)
    figure.savefig(args.out / 'comparison.png', dpi=120)
    plt.close(figure)


if __name__ == '__main__':
    main()
