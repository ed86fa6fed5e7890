"""The spectral norm of transmitting matrices: ours, the published way, PyTorch's, and the floor; time, memory, error.

    python tools/analysis_tools/benchmark_spectral.py --out work_dirs/benchmark_spectral

All columns of a row are measured in turn in one run, and their ratios are what counts. The shapes are (batch, C1@H1, C2@H2) of
two consecutive taps, student and teacher alike. "published" is the authors' algorithm transcribed: the matrix formed twice,
squared, autograd through the iterations. The floor is pooling with its backward where there is one, as PyTorch pools, one
read of both maps and one full write of both gradients; "traffic" is the same without the pooling: what moving the bytes
costs. Errors are those of the values against the SVD in float64, and of the gradients in norm.
"""

import argparse
import itertools
import json
import math
import platform
import statistics
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lckd_mm.spectral import cost_model, transmitting_matrix, transmitting_spectral_norm

Shape = Tuple[int, int, int, int, int, int, int]

# (batch, C1, H1, W1, C2, H2, W2). The first seven are those of the project's reference measurements; then the other pairs
# of DeepLabV3+ (ResNet-101, output stride 16, crops of 513) and of SSD300 (ResNet-50 and its extra maps).
SHAPES: Dict[str, List[Shape]] = {
    'reference': [
        (8, 256, 56, 56, 512, 28, 28),
        (8, 512, 28, 28, 1024, 14, 14),
        (8, 1024, 14, 14, 2048, 7, 7),
        (2, 256, 200, 336, 256, 100, 168),
        (4, 256, 129, 129, 512, 65, 65),
        (4, 1024, 33, 33, 2048, 33, 33),
        (64, 64, 32, 32, 128, 16, 16),
    ],
    'deeplabv3plus': [
        (4, 512, 65, 65, 1024, 33, 33),
        (4, 2048, 33, 33, 256, 129, 129),
    ],
    'ssd300': [
        (8, 512, 38, 38, 1024, 19, 19),
        (8, 1024, 19, 19, 512, 10, 10),
        (8, 512, 10, 10, 256, 5, 5),
        (8, 256, 5, 5, 256, 3, 3),
        (8, 256, 3, 3, 256, 1, 1),
    ],
}
N_ITERS = 5


def name(shape: Shape) -> str:
    batch, c1, h1, w1, c2, h2, w2 = shape
    sizes = [str(h) if h == w else f'{h}x{w}' for h, w in ((h1, w1), (h2, w2))]
    return f'{batch}, {c1}@{sizes[0]}, {c2}@{sizes[1]}'


# -- the ways ----------------------------------------------------------------------------------------------------------


def pooled(x: Tensor, y: Tensor) -> Tuple[Tensor, Tensor]:
    """As the authors: the larger map is pooled to the smaller one's size."""
    size = tuple(map(min, zip(x.shape[2:], y.shape[2:])))
    return tuple(f if f.shape[2:] == size else F.adaptive_avg_pool2d(f, size) for f in (x, y))


def published_matrix(x: Tensor, y: Tensor) -> Tensor:
    f1, f2 = (f.flatten(2) for f in pooled(x, y))
    return torch.bmm(f1, f2.transpose(1, 2)) / f1.shape[2]


def published(x: Tensor, y: Tensor) -> Tensor:
    """The authors' loop: TM formed twice, TM TM^T, the power iteration under autograd, from the all-ones vector."""
    square = torch.bmm(published_matrix(x, y), published_matrix(x, y).transpose(1, 2))
    vector = square.new_ones(*square.shape[:2], 1)
    for _ in range(N_ITERS):
        product = torch.bmm(square, vector)
        eigenvalue = product.norm(dim=1) / vector.norm(dim=1)
        vector = product / product.norm(dim=1, keepdim=True)
    return eigenvalue.squeeze(1).sqrt()


def matrix_norm(x: Tensor, y: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(transmitting_matrix(x, y), ord=2)


def svd_lowrank(x: Tensor, y: Tensor) -> Tensor:
    """Rank 6 and 2 subspace iterations are its defaults; it takes at most the smaller dimension."""
    matrix = transmitting_matrix(x, y)
    return torch.svd_lowrank(matrix, q=min(6, *matrix.shape[1:]))[1][:, 0]


WAYS: Dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'ours': lambda x, y: transmitting_spectral_norm(x, y, n_iters=N_ITERS),
    'published': published,
    'matrix_norm': matrix_norm,
    'svd_lowrank': svd_lowrank,
}


def floor(x: Tensor, y: Tensor, pool: bool) -> Tuple[float, float]:
    """Seconds forward and backward of what cannot be left out."""
    maps = [f.detach().requires_grad_() for f in (x, y)]
    start = clock(x)
    small = pooled(*maps) if pool else maps
    for f in small:
        f.detach().sum()
    middle = clock(x)
    for f, s in zip(maps, small):
        if s is f:
            torch.empty_like(f).fill_(1.0)
        else:
            s.backward(torch.ones((), device=f.device, dtype=f.dtype).expand_as(s))
    return middle - start, clock(x) - middle


# -- measuring ---------------------------------------------------------------------------------------------------------


def clock(like: Tensor) -> float:
    if like.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def run(way: Callable, x: Tensor, y: Tensor) -> Tuple[float, float, Tensor, List[Tensor]]:
    """Seconds forward and backward, the value, the two gradients."""
    maps = [f.detach().requires_grad_() for f in (x, y)]
    start = clock(x)
    sigma = way(*maps)
    middle = clock(x)
    sigma.sum().backward()
    return middle - start, clock(x) - middle, sigma.detach(), [f.grad for f in maps]


def exact(x: Tensor, y: Tensor) -> Tuple[Tensor, List[Tensor]]:
    maps = [f.detach().double().requires_grad_() for f in (x, y)]
    matrix = published_matrix(*maps)
    u, s, vh = torch.linalg.svd(matrix.detach(), full_matrices=False)
    matrix.backward(u[:, :, :1] @ vh[:, :1])
    return s[:, 0], [f.grad for f in maps]


def make_maps(shape: Shape, args: argparse.Namespace, ratio: float = 0.4) -> Tuple[Tensor, Tensor]:
    """Maps of three shared directions with a spectrum like that of pre-activation features, over independent noise.

    Wholly independent maps have singular values so close together that no iteration of five products separates them, and
    no feature map looks like that; a ratio of about 0.4 between the first two was measured on a ResNet-50 before its ReLUs.
    """
    generator = torch.Generator().manual_seed(0)
    batch, c1, h1, w1, c2, h2, w2 = shape
    h, w = min(h1, h2), min(w1, w2)
    shared = torch.randn(batch, 3, h, w, generator=generator)
    strength = torch.tensor([1.0, ratio, ratio**2]).sqrt()[:, None]
    maps = []
    for channels, height, width in ((c1, h1, w1), (c2, h2, w2)):
        mix = torch.randn(batch, channels, 3, generator=generator) @ torch.diag(strength.flatten())
        full = F.interpolate(shared, (height, width))
        noise = torch.randn(batch, channels, height, width, generator=generator)
        maps.append(torch.einsum('bcr,brhw->bchw', mix, full) + 0.3 * noise)
    kwargs = dict(memory_format=torch.channels_last) if args.channels_last else {}
    return tuple(f.to(args.device, args.dtype, **kwargs) for f in maps)


def working_memory(shape: Shape, column: str, args: argparse.Namespace) -> float:
    """Most bytes at a time beyond the two maps and their gradients, during forward and backward.

    On a CPU, of PyTorch's allocator; the buffers that a BLAS keeps for itself are not in it.
    """
    x, y = make_maps(shape, args)
    run(WAYS[column], x, y)
    gradients = x.nbytes + y.nbytes
    if args.device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(WAYS[column], x, y)
        return max(torch.cuda.max_memory_allocated() - before - gradients, 0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = run(WAYS[column], x, y)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == '[memory]']
    allocated = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    del kept
    return max(max(allocated) - gradients, 0)


def measure(shape: Shape, args: argparse.Namespace, note: Callable[[str], None]) -> Dict[str, Any]:
    """One row: for each column the medians of its times, its peak memory and its errors."""
    x, y = make_maps(shape, args)
    sigma, gradients = exact(x, y)
    columns = [column for column in WAYS if column not in args.skip]
    times: Dict[str, List[Tuple[float, float]]] = {column: [] for column in ('floor', 'traffic', *columns)}
    row: Dict[str, Any] = dict(shape=shape, name=name(shape))
    spent = dict.fromkeys(times, 0.0)
    # In turn, so that whatever else the machine does meets them all. A slow column is not repeated for ever.
    for repeat in range(args.repeats + 1):
        for column in times:
            if repeat > 1 and spent[column] > args.seconds:
                continue
            note(f'{name(shape)}: {column}, {repeat}')
            if column in ('floor', 'traffic'):
                forward, backward = floor(x, y, pool=column == 'floor')
            else:
                forward, backward, found, grads = run(WAYS[column], x, y)
                if repeat == 0:
                    error = (found.double() / sigma - 1).abs().max().item()
                    grad_error = max(((g.double() - e).norm() / e.norm()).item() for g, e in zip(grads, gradients))
                    row[column] = dict(error=error, gradient_error=grad_error)
                del found, grads
            spent[column] += forward + backward
            if repeat:  # the first one warms up
                times[column].append((forward, backward))
    for column, both in times.items():
        forward, backward = (statistics.median(part) for part in zip(*both))
        total = statistics.median(f + b for f, b in both)
        row.setdefault(column, {}).update(forward=forward, backward=backward, total=total, repeats=len(both))
        if column in columns and not args.no_memory:
            note(f'{name(shape)}: {column}, memory')
            row[column]['memory'] = working_memory(shape, column, args)
    batch, c1, _, _, c2, _, _ = shape
    n = y.shape[2] * y.shape[3] if y.numel() // c2 < x.numel() // c1 else x.shape[2] * x.shape[3]
    plan = cost_model.make_plan(((c1, c2, n),), batch, 'lanczos', N_ITERS, 4, args.device)
    row['plan'] = cost_model.describe(plan)
    return row


def constants(args: argparse.Namespace) -> None:
    """Print what cost_model.MACHINES says of this device."""

    def seconds(function: Callable) -> float:
        for _ in range(3):
            function()
        spent = []
        for _ in range(20):
            start = clock(torch.empty((), device=args.device))
            function()
            spent.append(clock(torch.empty((), device=args.device)) - start)
        return statistics.median(spent)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, device=args.device)

    for title, shape in (('cache_bandwidth', (8, 256, 784)), ('memory_bandwidth', (64, 256, 3136))):
        matrix, row = randn(*shape), randn(shape[0], 1, shape[1])
        print(f'{title:17} {matrix.nbytes / seconds(lambda: torch.bmm(row, matrix)):.3g} bytes / s')  # noqa: B023
    x, y = randn(8, 256, 784), randn(8, 512, 784)
    print(f'{"flops":17} {2 * 8 * 256 * 512 * 784 / seconds(lambda: torch.bmm(x, y.mT)):.3g} / s')
    small = randn(8, 1, 256)
    calls = seconds(lambda: [torch.linalg.vector_norm(small * 2, dim=2) for _ in range(100)]) / 200
    print(f'{"seconds_per_call":17} {calls:.3g} s')


# -- reporting ---------------------------------------------------------------------------------------------------------


def geometric_mean(values: List[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def report(rows: List[Dict[str, Any]], columns: List[str]) -> List[str]:
    """Markdown lines: the table and the figures that were wanted."""
    lines = ['| shape | floor | traffic | ' + ' | '.join(columns) + ' | ours / floor | ours / traffic | plan |']
    lines.append('|---' * (len(columns) + 6) + '|')
    for row in rows:
        cells = [f'{row[column]["total"] * 1e3:.2f}' for column in ('floor', 'traffic', *columns)]
        ratios = [f'{row["ours"]["total"] / row[column]["total"]:.2f}' for column in ('floor', 'traffic')]
        lines.append(f'| {row["name"]} | ' + ' | '.join([*cells, *ratios, row['plan']]) + ' |')
    lines += ['', 'Milliseconds, forward and backward together (medians).', '']
    lines.append('| shape | forward / backward, ours | memory, ours | ' + ' | '.join(columns[1:]) + ' | error, ours | ')
    lines[-1] += ' | '.join(columns[1:]) + ' | gradient error, ours | published |'
    lines.append('|---' * (lines[-1].count('|') - 1) + '|')
    for row in rows:
        memory = [f'{row[c]["memory"] / 2**20:.1f}' if 'memory' in row[c] else '' for c in columns]
        errors = [f'{row[c]["error"]:.1e}' for c in columns]
        gradients = [f'{row[c]["gradient_error"]:.1e}' for c in columns[:2]]
        times = f'{row["ours"]["forward"] * 1e3:.2f} / {row["ours"]["backward"] * 1e3:.2f}'
        lines.append(f'| {row["name"]} | ' + ' | '.join([times, *memory, *errors, *gradients]) + ' |')
    lines += [
        '',
        'Memory: most MiB at a time beyond the two maps and their gradients. Errors: relative to the SVD in float64.',
        '',
    ]
    reference = [row for row in rows if row['group'] == 'reference']
    for column in ('floor', 'traffic', *columns[1:]):
        for which, some in (('all shapes', rows), ('reference', reference)):
            ratio = [row['ours']['total'] / row[column]['total'] for row in some] or [math.nan]
            lines.append(
                f'ours / {column}, {which}: {geometric_mean(ratio):.3f} in the geometric mean, '
                f'{min(ratio):.3f} to {max(ratio):.3f}'
            )
    if all('memory' in row[c] for row in rows for c in columns):
        for column in columns[1:]:
            ratio = [row['ours']['memory'] / max(row[column]['memory'], 1) for row in rows]
            lines.append(f'memory, ours / {column}: {min(ratio):.2f} to {max(ratio):.2f}')
    return lines


def chart(rows: List[Dict[str, Any]], columns: List[str], path: Path, title: str) -> None:
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    shown = ['floor', *columns]
    colors = dict(zip(shown, ('lightgray', 'tab:orange', 'tab:blue', 'tab:green', 'tab:purple')))
    figure, axes = plt.subplots(figsize=(11, 0.75 * len(rows) + 1.6), layout='constrained')
    height = 0.8 / len(shown)
    for index, column in enumerate(shown):
        places = [row_index + (index - (len(shown) - 1) / 2) * height for row_index in range(len(rows))]
        values = [row[column]['total'] * 1e3 for row in rows]
        bars = axes.barh(places, values, height, label=column, color=colors[column])
        labels = [f'{value:.0f}' if value >= 100 else f'{value:.3g}' for value in values]
        axes.bar_label(bars, labels, padding=2, fontsize=7)
    axes.set(xscale='log', xlabel='milliseconds, forward and backward', title=title)
    axes.set_yticks(range(len(rows)), [row['name'] for row in rows])
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.01)
    axes.grid(axis='x', alpha=0.3)
    figure.legend(loc='outside lower center', ncols=len(shown), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def machine(args: argparse.Namespace) -> str:
    if args.device == 'cuda':
        return torch.cuda.get_device_name()
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').exists() else []
    model = next((line.split(':')[1].strip() for line in lines if line.startswith('model name')), platform.processor())
    return f'{model}, {torch.get_num_threads()} threads'


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--dtype', choices=('float32', 'float16', 'bfloat16'), default='float32', help='of the maps')
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--shapes', nargs='+', choices=tuple(SHAPES), default=tuple(SHAPES))
    parser.add_argument('--skip', nargs='+', choices=tuple(WAYS)[1:], default=(), help='columns to leave out')
    parser.add_argument('--repeats', type=int, default=15)
    parser.add_argument('--seconds', type=float, default=6.0, help='for the repetitions of one column of one row')
    parser.add_argument('--no-memory', action='store_true', help='leave out the working memory')
    parser.add_argument('--out', type=Path, help='folder for benchmark.json, benchmark.md and benchmark.png')
    parser.add_argument('--json', action='store_true', help='print JSON instead of the table')
    parser.add_argument('--constants', action='store_true', help="print the cost model's constants and stop")
    args = parser.parse_args(argv)
    args.dtype = getattr(torch, args.dtype)
    return args


def main() -> None:
    args = parse_args()
    if args.constants:
        constants(args)
        return
    from rich.console import Console

    console = Console(stderr=True)
    rows = []
    with console.status('') as status:
        for group, shape in [(one, shape) for one in args.shapes for shape in SHAPES[one]]:
            rows.append(dict(measure(shape, args, status.update), group=group))
            ours, least = (rows[-1][column]['total'] * 1e3 for column in ('ours', 'floor'))
            console.print(f'{rows[-1]["name"]:40} ours {ours:9.2f} ms   floor {least:9.2f} ms')
    columns = [column for column in WAYS if column not in args.skip]
    result = dict(machine=machine(args), torch=torch.__version__, dtype=str(args.dtype), rows=rows)
    title = f'Spectral norm of a pair of taps, {result["machine"]}, {str(args.dtype).split(".")[1]}'
    lines = report(rows, columns)
    print(json.dumps(result) if args.json else '\n'.join([f'{title}, torch {torch.__version__}', '', *lines]))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / 'benchmark.json').write_text(json.dumps(result, indent=1))
        (args.out / 'benchmark.md').write_text('\n'.join([title, '', *lines, '']))
        chart(rows, columns, args.out / 'benchmark.png', title)


if __name__ == '__main__':
    main()
