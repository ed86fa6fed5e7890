"""Distill a student from a teacher: two configs and a checkpoint are enough.

Data, schedule, hooks and pipelines are those of the student. Layers and losses are chosen, and printed with a few measured steps; then the
training begins. The work directory receives student.pth with its plain config, report.md and a picture.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.model import BaseModel

from lckd_mm.analysis.distill_config import write_config
from lckd_mm.analysis.distill_measure import Inspection, inspect_distillation
from lckd_mm.analysis.distill_plan import Plan, Request, make_plan
from lckd_mm.analysis.distill_results import (
    RESULTS,
    STUDENT_CONFIG,
    Findings,
    load_findings,
    save_findings,
    write_results,
)
from lckd_mm.analysis.distill_screen import Judgment, print_screen
from lckd_mm.analysis.known_metrics import find_known_metric
from lckd_mm.analysis.teacher_metric import evaluation_obstacle, main_metric
from lckd_mm.atomic_files import check_overwriting
from lckd_mm.errors import ConfigFileNotFoundError, ConfigRuntimeError, ConfigValueError
from lckd_mm.models.utils.teacher import load_teacher

from . import compare
from .data_check import check_data
from .distill_training import train, train_arguments
from .options_action import OptionsAction
from .parser import VerbParser
from .quiet import quiet
from .signals import terminated_like_interrupted
from .status import show_status

EXAMPLES = {
    'a student of the bundled demonstration, whose data set tools/dataset_converters/make_demo_set.py makes': (
        '{prog} lckd_mm::demo/resnet_w4_digits.py lckd_mm::demo/resnet_w16_digits.py work_dirs/resnet_w16_digits/epoch_6.pth'
    ),
    'other losses, in four processes': (
        '{prog} lckd_mm::demo/resnet_w4_digits.py lckd_mm::demo/resnet_w16_digits.py work_dirs/resnet_w16_digits/epoch_6.pth '
        '--losses lipschitz kd --devices 4'
    ),
    'compare with the student alone over five seeds': (
        '{prog} lckd_mm::demo/resnet_w4_digits.py lckd_mm::demo/resnet_w16_digits.py work_dirs/resnet_w16_digits/epoch_6.pth '
        '--compare 0 1 2 3 4'
    ),
    'write the config, and train nothing': (
        '{prog} lckd_mm::demo/resnet_w4_digits.py lckd_mm::demo/resnet_w16_digits.py work_dirs/resnet_w16_digits/epoch_6.pth '
        '--write-config my_distillation.py'
    ),
}

_FINDINGS = 'distill.json'


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the verb.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.

    Raises:
        ConfigError: A configuration error, before the training.
        SystemExit: The training failed; with its exit status.
    """
    args = make_parser(prog).parse(arguments)
    request = Request(
        args.student,
        args.teacher,
        args.checkpoint,
        None if args.losses is None else tuple(args.losses),
        None if args.taps is None else tuple(args.taps),
        dict(args.cfg_options or {}),
        dict(args.teacher_options or {}),
    )
    _check_arguments(args)
    work_dir = args.work_dir or Path('work_dirs') / f'{Path(args.student.rpartition("::")[2]).stem}_distilled'
    if not args.write_config:
        _check_results(args, work_dir)
    config = args.write_config or work_dir.with_name(f'{work_dir.name}.py')
    with quiet(), show_status('finding the layers of both models'):
        plan, student, teacher = make_plan(request)
        if not args.write_config:
            load_teacher(teacher, request.checkpoint)
            check_data(plan.student_cfg, 'train_dataloader', 'val_dataloader')
        text = write_config(plan, config)
    if args.write_config:
        print(*plan.notes, text, sep='\n', end='')
        print(f'Written to {config}; `python -m lckd_mm train {config}` trains it.', file=sys.stderr)
        return
    if args.resume is not None and (work_dir / _FINDINGS).is_file():
        findings = load_findings(work_dir / _FINDINGS)
    else:
        obstacle = (
            '--skip-teacher-eval' if args.skip_teacher_eval else evaluation_obstacle(student, teacher, plan.student_cfg)
        )
        inspection = inspect_distillation(
            str(config), request, args.amp, None if obstacle else args.teacher_eval_seconds
        )
        findings = _report_before(plan, student, teacher, inspection, obstacle or inspection.problem, config)
        save_findings(work_dir / _FINDINGS, findings)
    del student, teacher
    run_dir = work_dir
    with terminated_like_interrupted():
        if args.compare is None:
            train(config, work_dir, args)
        else:
            run_dir = _compare(plan, config, work_dir, findings, args)
            verdict = json.loads((work_dir / 'compare' / 'comparison.json').read_text())['sentences']
            findings = dataclasses.replace(findings, verdict=tuple(verdict))
    for path in write_results(work_dir, run_dir, plan.student_cfg, findings):
        print(path)


def make_parser(prog: str | None = None) -> VerbParser:
    """Return the argument parser.

    Args:
        prog (str, optional): Name of the program. Defaults to None.

    Returns:
        VerbParser: The parser.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument(
        'student', metavar='STUDENT', help='config of the student: a path, or PACKAGE::PATH of an installed package'
    )
    parser.add_argument(
        'teacher', metavar='TEACHER', help='config of the teacher, with which its checkpoint was trained'
    )
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help="the teacher's checkpoint, a path or a URL")
    parser.add_argument(
        '--losses',
        nargs='+',
        metavar='LOSS',
        help='losses, such as lipschitz kd pkd (default: those recommended for the task)',
    )
    parser.add_argument(
        '--taps',
        nargs='+',
        metavar='LAYER',
        help='layers to compare, LAYER or STUDENT_LAYER=TEACHER_LAYER (default: those that the verb taps finds)',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        metavar='DIR',
        help='folder of logs and results (default: work_dirs/<student>_distilled)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help="overrides of the student's config: train_cfg.max_epochs=20 model.bbox_head.num_classes=3",
    )
    parser.add_argument(
        '--teacher-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help="overrides of the teacher's config: model.bbox_head.num_classes=3",
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision; bfloat16 on a CPU')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the total batch size'
    )
    parser.add_argument('--channels-last', action='store_true', help='memory format of the maps, as in `train`')
    parser.add_argument(
        '--devices', type=int, default=1, metavar='N', help='number of processes, one per GPU (default: 1)'
    )
    parser.add_argument('--write-config', type=Path, metavar='FILE', help='write the config, and do nothing else')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='PATH', help='resume the training, as in `train`')
    parser.add_argument(
        '--skip-teacher-eval', action='store_true', help='do not evaluate the teacher on the validation data'
    )
    parser.add_argument(
        '--teacher-eval-seconds',
        type=float,
        default=300,
        metavar='SECONDS',
        help='an evaluation that would take longer uses a part of the images (default: 300)',
    )
    parser.add_argument(
        '--compare',
        nargs='+',
        type=int,
        metavar='SEED',
        help='train the student alone as well, with these seeds, and compare',
    )
    parser.add_argument(
        '--metric', metavar='NAME', help='metric of --compare (default: the main one of the evaluation)'
    )
    return parser


def _check_arguments(args: argparse.Namespace) -> None:
    if args.devices < 1:
        raise ConfigValueError(f'--devices {args.devices} is no number of processes: give 1 or more.')
    if args.compare is not None and args.devices > 1:
        raise ConfigValueError(
            f'--compare trains on one device, but --devices is {args.devices}: leave out one of them.'
        )
    if args.compare is not None and args.skip_teacher_eval and args.metric is None:
        raise ConfigValueError(
            '--compare takes its metric from the evaluation of the teacher, which --skip-teacher-eval leaves out: add --metric mIoU, for '
            'example.'
        )
    if '://' not in args.checkpoint and not args.write_config and not Path(args.checkpoint).expanduser().is_file():
        raise ConfigFileNotFoundError(
            f"the teacher's checkpoint {args.checkpoint!r} does not exist (working directory: {str(Path.cwd())!r}): give its path or URL."
        )


def _check_results(args: argparse.Namespace, work_dir: Path) -> None:
    """Check that no result is written over an input, such as a teacher that is the student of an earlier distillation."""
    inputs = {'STUDENT': args.student, 'TEACHER': args.teacher, 'CHECKPOINT': args.checkpoint}
    for name in (*RESULTS, _FINDINGS):
        check_overwriting('--work-dir: the result', work_dir / name, inputs)


def _report_before(
    plan: Plan, student: BaseModel, teacher: BaseModel, inspection: Inspection, problem: str, config: Path
) -> Findings:
    """Print what is known before the training, and return it."""
    request, evaluation, metric = plan.request, inspection.teacher, inspection.metric
    judgment: Judgment | str = problem or 'its evaluation has no metric'
    baseline = None
    if evaluation is not None and metric is not None:
        baseline = find_known_metric(request.student, metric, is_changed=bool(request.student_options))
        judgment = Judgment(metric, evaluation, baseline)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        print_screen(plan, student, teacher, inspection.measurement, judgment, config)
    print(output.getvalue(), flush=True)
    return Findings(
        request.student,
        request.teacher,
        request.checkpoint,
        str(config),
        tuple(line.rstrip() for line in output.getvalue().splitlines()),
        {} if evaluation is None else evaluation.metrics,
        None if baseline is None else (baseline.value, baseline.source),
    )


def _compare(plan: Plan, config: Path, work_dir: Path, findings: Findings, args: argparse.Namespace) -> Path:
    """Train the student alone and the distillation with several seeds; return the work directory of the first distillation."""
    metric = args.metric or _metric_of(findings, plan)
    student = work_dir / STUDENT_CONFIG
    student.parent.mkdir(parents=True, exist_ok=True)
    plan.student_cfg.dump(student)
    out = work_dir / 'compare'
    seeds = [str(seed) for seed in args.compare]
    train_args = ' '.join(train_arguments(args))
    compare.main(
        [
            f'student alone: {shlex.quote(str(student))}',
            f'distillation: {shlex.quote(str(config))}',
            *('--metric', metric),
            *('--seeds', *seeds),
            *('--out', str(out)),
        ]
        # After an equals sign, since the value starts with hyphens.
        + ([f'--train-args={train_args}'] if train_args else [])
    )
    return out / 'runs' / 'distillation' / f'seed{seeds[0]}'


def _metric_of(findings: Findings, plan: Plan) -> str:
    metric = main_metric(plan.student_cfg, list(findings.teacher_metrics or ()))
    if metric is None:
        raise ConfigRuntimeError(
            '--compare needs the name of a metric, and the teacher was not evaluated: add --metric mIoU, for example.'
        )
    return metric
