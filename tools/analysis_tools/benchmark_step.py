"""A whole training step: the student alone, LCKD, and MMRazor's ways, of the same models on the same batch, in one run.

    python tools/analysis_tools/benchmark_step.py --out work_dirs/benchmark_step

A step is forward, backward and the optimizer's step. The teachers have random weights, which costs the same. The columns:

- student alone;
- LCKD: LipschitzDistill as configs/_base_/distillers/lckd_backbone.py has it, and the same without adapters;
- LCKD, term left out: the same, adapters off and no loss computed of the taps;
- MMRazor, same losses: SingleTeacherDistill, which runs the whole teacher, with the very same distiller;
- MMRazor PKD and OFD: its algorithms, losses and connectors as its own configs combine them.
"""

import argparse
import copy
import json
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))
from benchmark_spectral import machine  # noqa: E402

import lckd_mm  # noqa: E402, F401

from mmdet.structures import DetDataSample  # noqa: E402  isort: skip  (after lckd_mm, which mends the stack)
from mmengine.registry import DefaultScope  # noqa: E402  isort: skip
from mmpretrain.structures import DataSample  # noqa: E402  isort: skip
from mmrazor.registry import MODELS  # noqa: E402  isort: skip

from lckd_mm.models.algorithms.lipschitz_distill import build_model  # noqa: E402  isort: skip
from lckd_mm.models.connectors import SpectralNormConnector  # noqa: E402  isort: skip

STAGES = [f'backbone.layer{i}' for i in (1, 2, 3, 4)]
PAIRS = {
    'faster_rcnn': 'Faster R-CNN FPN, R50 teaches R18',
    'classifier': 'ImageNet classifier, R50 teaches R18',
}
STEPS = (
    'student alone',
    'LCKD',
    'LCKD, no adapters',
    'LCKD, term left out',
    'MMRazor, same losses',
    'MMRazor PKD',
    'MMRazor OFD',
)


# -- models and batches ------------------------------------------------------------------------------------------------


def make_models(pair: str) -> Tuple[nn.Module, nn.Module]:
    """Student and teacher with random weights, BNs with scales as training leaves them."""
    if pair == 'faster_rcnn':
        model = Config.fromfile(ROOT / 'configs/voc/lckd_faster_rcnn.py').model
        student, teacher = model.architecture.to_dict(), model.teacher.to_dict()
        student['cfg_options'].pop('backbone.init_cfg.checkpoint')
        for one in (student, teacher):
            one['cfg_options']['backbone.init_cfg'] = None
    else:
        student, teacher = (dict(cfg_path=f'mmpretrain::resnet/resnet{depth}_8xb32_in1k.py') for depth in (18, 50))
    models = build_model(student), build_model(teacher)
    for model in models:
        model.init_weights()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.2, 1.5)
    return models


def make_batch(pair: str, args: argparse.Namespace) -> Tuple[Tensor, List[BaseDataElement]]:
    generator = torch.Generator().manual_seed(0)
    if pair == 'classifier':
        images = torch.randn(args.images, 3, 224, 224, generator=generator)
        labels = torch.randint(1000, (args.images,), generator=generator)
        return images.to(args.device), [DataSample().set_gt_label(label).to(args.device) for label in labels]
    height, width = args.size
    samples = []
    for _ in range(2):
        corner = torch.rand(8, 2, generator=generator) * torch.tensor([width * 0.7, height * 0.7])
        boxes = torch.cat([corner, corner + torch.tensor([width * 0.25, height * 0.25])], 1)
        instances = InstanceData(bboxes=boxes, labels=torch.randint(20, (8,), generator=generator))
        shape = dict(
            img_shape=(height, width), pad_shape=(height, width), ori_shape=(height, width), scale_factor=(1, 1)
        )
        samples.append(DetDataSample(gt_instances=instances, metainfo=dict(shape, batch_input_shape=(height, width))))
    images = torch.randn(2, 3, height, width, generator=generator)
    return images.to(args.device), [sample.to(args.device) for sample in samples]


def tap_channels(model: nn.Module) -> List[int]:
    """Channels of the four stages."""
    return [_last_norm(getattr(model.backbone, f'layer{i}'))[1].num_features for i in (1, 2, 3, 4)]


def _last_norm(stage: nn.Sequential) -> Tuple[str, nn.BatchNorm2d]:
    norms = [(name, module) for name, module in stage[-1].named_children() if isinstance(module, nn.BatchNorm2d)]
    return norms[-1]


# -- contenders --------------------------------------------------------------------------------------------------------


def lckd_distiller(**changes: Any) -> dict:
    block = Config.fromfile(ROOT / 'configs/_base_/distillers/lckd_backbone.py').model.distiller.to_dict()
    return dict(block, **changes)


def pkd_distiller(pair: str, student: nn.Module, teacher: nn.Module) -> dict:
    """MMRazor's PKD: four FPN levels as in its configs; for a classifier the last stage through its connector."""
    if pair == 'faster_rcnn':
        recorder = dict(fpn=dict(type='ModuleOutputs', source='neck'))
        records = [dict(recorder='fpn', data_idx=level) for level in range(4)]
        connectors: Dict[str, dict] = {}
    else:
        recorder = dict(last=dict(type='ModuleOutputs', source='backbone.layer4'))
        records = [dict(recorder='last')]
        channels = tap_channels(student)[-1], tap_channels(teacher)[-1]
        connectors = dict(
            adapt=dict(type='ConvModuleConnector', in_channel=channels[0], out_channel=channels[1], act_cfg=None)
        )
    adapt = dict(connector='adapt') if connectors else {}
    return dict(
        type='ConfigurableDistiller',
        student_recorders=recorder,
        teacher_recorders=recorder,
        connectors=connectors,
        distill_losses={f'loss_{i}': dict(type='PKDLoss', loss_weight=6) for i in range(len(records))},
        loss_forward_mappings={
            f'loss_{i}': dict(
                preds_S=dict(from_student=True, **record, **adapt), preds_T=dict(from_student=False, **record)
            )
            for i, record in enumerate(records)
        },
    )


def ofd_distiller(student: nn.Module, teacher: nn.Module) -> dict:
    """MMRazor's OFD, on the last BN of each stage."""

    def recorders(model: nn.Module) -> dict:
        found = {}
        for stage in STAGES:
            blocks = model.get_submodule(stage)
            source = f'{stage}.{len(blocks) - 1}.{_last_norm(blocks)[0]}'
            found[stage.split('.')[1]] = dict(type='ModuleOutputs', source=source)
        return found

    names = [stage.split('.')[1] for stage in STAGES]
    connectors, mappings = {}, {}
    for name, channels in zip(names, zip(tap_channels(student), tap_channels(teacher))):
        connectors[f's_{name}'] = dict(
            type='ConvModuleConnector',
            in_channel=channels[0],
            out_channel=channels[1],
            norm_cfg=dict(type='BN'),
            act_cfg=None,
        )
        connectors[f't_{name}'] = dict(type='OFDTeacherConnector')
        mappings[f'loss_{name}'] = dict(
            s_feature=dict(from_student=True, recorder=name, connector=f's_{name}'),
            t_feature=dict(from_student=False, recorder=name, connector=f't_{name}'),
        )
    return dict(
        type='OFDDistiller',
        student_recorders=recorders(student),
        teacher_recorders=recorders(teacher),
        connectors=connectors,
        distill_losses={loss: dict(type='OFDLoss', loss_weight=1e-3) for loss in mappings},
        loss_forward_mappings=mappings,
    )


def make_contenders(pair: str, student: nn.Module, teacher: nn.Module) -> Dict[str, nn.Module]:
    def distil(algorithm: str, distiller: dict, **kwargs: Any) -> nn.Module:
        model = MODELS.build(
            dict(
                type=algorithm,
                architecture=copy.deepcopy(student),
                teacher=copy.deepcopy(teacher),
                distiller=distiller,
                **kwargs,
            )
        )
        if algorithm == 'LipschitzDistill':
            for one in (model.student, model.teacher):
                one._is_init = True
            model.init_weights()
        return model

    ours = dict(algorithm='LipschitzDistill', allow_random_teacher=True)
    without_term = distil(**ours, distiller=lckd_distiller(adapters=False))
    distiller = without_term.distiller
    distiller.compute_distill_losses = lambda: distiller._reset_records() or {}
    return {
        'student alone': copy.deepcopy(student),
        'LCKD': distil(**ours, distiller=lckd_distiller()),
        'LCKD, no adapters': distil(**ours, distiller=lckd_distiller(adapters=False)),
        'LCKD, term left out': without_term,
        'MMRazor, same losses': distil('SingleTeacherDistill', lckd_distiller()),
        'MMRazor PKD': distil('SingleTeacherDistill', pkd_distiller(pair, student, teacher)),
        'MMRazor OFD': distil('OverhaulFeatureDistillation', ofd_distiller(student, teacher)),
    }


# -- measuring ---------------------------------------------------------------------------------------------------------


def synchronise(args: argparse.Namespace) -> float:
    """The time when all work so far is done."""
    if args.device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter()


def step_of(model: nn.Module, batch: Tuple[Tensor, list], args: argparse.Namespace) -> Callable[[], float]:
    """A function that takes one training step and returns its seconds."""
    model.to(args.device).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # So small a step that the loss stays where it is: all steps do the same work.
    optimizer = torch.optim.SGD(parameters, lr=1e-6, momentum=0.9)
    amp = dict(dtype=getattr(torch, args.amp)) if args.amp else dict(enabled=False)

    def step() -> float:
        images, samples = batch[0], copy.deepcopy(batch[1])
        begin = synchronise(args)
        with torch.autocast(args.device, **amp):
            losses = model(images, samples, mode='loss')
            total, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        spent = synchronise(args) - begin
        if not torch.isfinite(total):
            raise RuntimeError(f'the loss is {float(total)}: {dict(losses)}')
        return spent

    return step


class TermClock:
    """Within its context, the seconds spent in the Lipschitz term itself: forward of both networks, and backward.

    Not in it: the adapters, and the addition of the term's gradients to those of the task.
    """

    def __init__(self, synchronise: Callable[[], float]) -> None:
        self.clock = synchronise
        self.seconds = 0.0
        self._forward = SpectralNormConnector.forward_train

    def __enter__(self) -> 'TermClock':
        def forward(connector: nn.Module, feature: Tuple[Tensor, ...]) -> Tensor:
            self.seconds -= self.clock()
            sigma = self._forward(connector, feature)
            self.seconds += self.clock()
            if sigma.grad_fn is not None:
                sigma.grad_fn.register_prehook(lambda _: self._add(-1))
                sigma.grad_fn.register_hook(lambda *_: self._add(1))
            return sigma

        SpectralNormConnector.forward_train = forward
        return self

    def _add(self, sign: int) -> None:
        self.seconds += sign * self.clock()

    def __exit__(self, *_: Any) -> None:
        SpectralNormConnector.forward_train = self._forward


def measure(pair: str, args: argparse.Namespace, note: Callable[[str], None]) -> Dict[str, List[float]]:
    torch.manual_seed(0)
    note(f'{PAIRS[pair]}: building the models')
    batch = make_batch(pair, args)
    with DefaultScope.overwrite_default_scope('mmrazor'):
        contenders = make_contenders(pair, *make_models(pair))
    steps = {name: step_of(model, batch, args) for name, model in contenders.items() if name in args.steps}
    times: Dict[str, List[float]] = {name: [] for name in steps}
    for repeat in range(args.repeats + args.warmup):
        for name, step in steps.items():
            note(f'{PAIRS[pair]}: {name}, step {repeat + 1} of {args.repeats + args.warmup}')
            spent = step()
            if repeat >= args.warmup:
                times[name].append(spent)
    # The clock synchronises, so these steps are for themselves: the term's seconds beside the whole step's.
    times['term'], times['step of the term'] = [], []
    for repeat in range(args.repeats if 'LCKD' in steps else 0):
        note(f'{PAIRS[pair]}: the term itself, step {repeat + 1} of {args.repeats}')
        with TermClock(lambda: synchronise(args)) as clock:
            times['step of the term'].append(steps['LCKD']())
        times['term'].append(clock.seconds)
    return times


# -- reporting ---------------------------------------------------------------------------------------------------------


def report(pair: str, times: Dict[str, List[float]]) -> List[str]:
    """Markdown. Ratios are those of the fastest steps, which other work on the machine disturbs least."""

    def ratio(name: str, to: str) -> str:
        return f'{min(times[name]) / min(times[to]):.2f}' if to in times else ''

    columns = [name for name in times if name not in ('term', 'step of the term')]
    lines = [f'{PAIRS[pair]}, {len(times[columns[0]])} rounds', '']
    lines += ['| step | median ms | fastest ms | / student alone | / MMRazor, same losses |', '|---|---|---|---|---|']
    for name in columns:
        lines.append(
            f'| {name} | {statistics.median(times[name]) * 1e3:.0f} | {min(times[name]) * 1e3:.0f} | '
            f'{ratio(name, "student alone")} | {ratio(name, "MMRazor, same losses")} |'
        )
    if times['term']:
        shares = [term / step for term, step in zip(times['term'], times['step of the term'])]
        lines += [
            '',
            f'The term takes {statistics.median(times["term"]) * 1e3:.1f} ms, {100 * statistics.median(shares):.1f} % of the '
            'step of LCKD (medians, clocked where it is computed, adapters not counted).',
        ]
    return lines


def chart(results: Dict[str, Dict[str, List[float]]], path: Path, title: str) -> None:
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(results), figsize=(6 * len(results), 3.2), layout='constrained', squeeze=False)
    for axis, (pair, times) in zip(axes[0], results.items()):
        columns = [name for name in times if name not in ('term', 'step of the term')]
        values = [min(times[name]) * 1e3 for name in columns]
        colors = ['tab:orange' if name.startswith('LCKD') else 'tab:blue' for name in columns]
        colors[0] = 'lightgray'
        bars = axis.barh(columns, values, color=colors)
        axis.bar_label(bars, [f'{value:.0f}' for value in values], padding=3, fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.15)
        axis.set(title=PAIRS[pair], xlabel='milliseconds per training step (fastest)')
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pairs', nargs='+', choices=tuple(PAIRS), default=tuple(PAIRS))
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--amp', choices=('float16', 'bfloat16'), help='under autocast')
    parser.add_argument(
        '--size', nargs=2, type=int, default=(384, 512), metavar=('H', 'W'), help='of the two images of the detector'
    )
    parser.add_argument('--images', type=int, default=16, help='of 224 x 224 pixels for the classifier')
    parser.add_argument('--steps', nargs='+', choices=STEPS, default=STEPS, help='the columns to measure')
    parser.add_argument('--repeats', type=int, default=9)
    parser.add_argument('--warmup', type=int, default=1)
    parser.add_argument('--out', type=Path, help='folder for benchmark.json, benchmark.md and benchmark.png')
    parser.add_argument('--json', action='store_true', help='print JSON instead of the tables')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    warnings.filterwarnings('ignore')
    # It lists every initialised parameter.
    MMLogger.get_current_instance().setLevel('ERROR')
    from rich.console import Console

    results = {}
    with Console(stderr=True).status('') as status:
        for pair in args.pairs:
            results[pair] = measure(pair, args, status.update)
    title = f'Training steps, {machine(args)}, {args.amp or "float32"}, torch {torch.__version__}'
    lines = [title]
    for pair, times in results.items():
        lines += ['', *report(pair, times)]
    record = dict(title=title, size=args.size, images=args.images, seconds=results)
    print(json.dumps(record) if args.json else '\n'.join(lines))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / 'benchmark.json').write_text(json.dumps(record, indent=1))
        (args.out / 'benchmark.md').write_text('\n'.join([*lines, '']))
        chart(results, args.out / 'benchmark.png', title)


if __name__ == '__main__':
    main()
