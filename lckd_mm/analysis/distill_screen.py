"""What the verb ``distill`` prints before a training: models, classes, layers, losses and cost on one screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.model import BaseModel

from lckd_mm.engine.class_counts import class_heads

from .distill_measure import Measurement
from .distill_plan import Plan
from .known_metrics import KnownMetric
from .tables import print_table
from .taps import print_tap_pairs
from .teacher_metric import TeacherMetric

_WIDTH = 118
# From the gradient norm of the task on, the Lipschitz loss did harm (docs/experiments.md, strength of the Lipschitz loss).
_STRONG = 1.0


@dataclass(frozen=True)
class Judgment:
    """The teacher's metric, and that of the student alone where it is known.

    Attributes:
        metric: Name of the metric.
        teacher: The teacher's evaluation.
        baseline: The metric of the student alone; None if it is not known.
    """

    metric: str
    teacher: TeacherMetric
    baseline: KnownMetric | None

    @property
    def value(self) -> float:
        """The teacher's metric."""
        return self.teacher.metrics[self.metric]

    @property
    def sentence(self) -> str:
        """What the two values mean.

        Example:
            >>> Judgment('mIoU', TeacherMetric({'mIoU': 40.0}, 9, 9), KnownMetric(42.0, 'training in work_dirs/a')).sentence[:60]
            'Warning: the teacher has mIoU 40, and the student alone has '
        """
        part = '' if self.teacher.num_images == self.teacher.num_all else f' of {self.teacher.num_all}'
        found = f'{self.metric} {self.value:.4g} on {self.teacher.num_images}{part} validation images'
        if self.baseline is None:
            return f'The teacher has {found}; the metric of the student alone is not known (`--compare` trains it as well).'
        baseline = f'{self.baseline.value:.4g} ({self.baseline.source})'
        if self.value > self.baseline.value:
            return f'The teacher has {found}; the student alone has {baseline}.'
        return (
            f'Warning: the teacher has {self.metric} {self.value:.4g}, and the student alone has {baseline}: a teacher that is no better '
            'than its student rarely helps.'
        )


def class_sentences(plan: Plan, student: BaseModel, teacher: BaseModel, names: Sequence[str] | None) -> list[str]:
    """Return sentences about the numbers of classes.

    Args:
        plan (Plan): The plan.
        student (BaseModel): The student.
        teacher (BaseModel): The teacher.
        names (Sequence[str], optional): Classes of the training data.

    Returns:
        list[str]: The sentences.
    """
    counts = [sorted({head.num_classes for head in class_heads(model)}) for model in (student, teacher)]
    texts = [' and '.join(map(str, count)) or 'unknown' for count in counts]
    data = (
        'unknown'
        if names is None
        else f'{len(names)} ({", ".join(map(str, names[:4]))}{", ..." if len(names) > 4 else ""})'
    )
    lines = [f'Classes: student {texts[0]}, teacher {texts[1]}, training data {data}.']
    if counts[0] != counts[1]:
        lines.append(
            'Losses on class scores are impossible, since the teacher has other classes; losses on feature maps are not affected.'
        )
    return lines


def print_screen(
    plan: Plan,
    student: BaseModel,
    teacher: BaseModel,
    measured: Measurement,
    judgment: Judgment | str,
    config: Path,
) -> None:
    """Print everything that is known before the training.

    Args:
        plan (Plan): What was chosen.
        student (BaseModel): The student.
        teacher (BaseModel): The teacher.
        measured (Measurement): Measurements of a few steps.
        judgment (Judgment | str): The teacher's metric, or why it was not evaluated.
        config (Path): The written config.
    """
    request = plan.request
    for role, model, path in (('Student', student, request.student), ('Teacher', teacher, request.teacher)):
        millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        checkpoint = f', {request.checkpoint}' if role == 'Teacher' else ''
        print(f'{role}: {type(model).__name__}, {millions:.2f} M parameters, {path}{checkpoint}')
    print('The checkpoint matches the teacher: every parameter was loaded.')
    for line in class_sentences(plan, student, teacher, measured.classes):
        print(line)
    print(f'The teacher was not evaluated: {judgment}.' if isinstance(judgment, str) else judgment.sentence)
    _print_taps(plan)
    for note in plan.notes:
        print(note)
    _print_losses(measured)
    lipschitz = measured.gradients.get('distill.loss_lipschitz')
    if lipschitz is not None and plan.is_balanced:
        print('LipschitzBalanceHook adapts the weight of loss_lipschitz during the training.')
    elif lipschitz is not None and lipschitz.gradient > _STRONG:
        print(
            f"Warning: the gradient of loss_lipschitz is {lipschitz.gradient:.3g} times the task's: reduce its loss_weight, or inherit "
            'lckd_mm::_base_/distillers/lipschitz_balanced.py.'
        )
    print(cost_sentence(measured))
    print(f'Config: {config}')


def _print_taps(plan: Plan) -> None:
    if plan.found is None:
        print('Taps, as requested:')
        for student, teacher in zip(plan.student_taps, plan.teacher_taps, strict=True):
            print(f'  student {student}, teacher {teacher}')
        return
    print_tap_pairs(plan.found)


def _print_losses(measured: Measurement) -> None:
    rows = [
        [
            name.removeprefix('distill.'),
            f'{loss.value:.4g}',
            f'{loss.share:.1%}',
            f'{loss.gradient:.3g}',
            f'{loss.adapters:.1%}',
        ]
        for name, loss in measured.gradients.items()
    ]
    header = ['loss', 'value', 'share of total', 'gradient / task', 'through adapters']
    print_table(f"One batch of {measured.batch_size}: gradients at the student's backbone", header, rows, _WIDTH)


def cost_sentence(measured: Measurement) -> str:
    """Return the cost of a step of the distillation against one of the student alone.

    Args:
        measured (Measurement): The measurements.

    Returns:
        str: One sentence.

    Example:
        >>> from lckd_mm.analysis.distill_measure import Cost
        >>> cost_sentence(Measurement({}, Cost(0.2, 10**9), Cost(0.3, 2 * 10**9), None, 2, 'cpu'))
        'Cost of a step on cpu, without data loading: 0.300 s, 1.50 times that of the student alone (0.200 s); peak memory 2.0 GB (1.0 GB).'
    """
    alone, distilled = measured.alone, measured.distilled
    memory = ''
    if alone.memory is not None and distilled.memory is not None:
        memory = f'; peak memory {distilled.memory / 1e9:.1f} GB ({alone.memory / 1e9:.1f} GB)'
    return (
        f'Cost of a step on {measured.device}, without data loading: {distilled.seconds:.3f} s, '
        f'{distilled.seconds / alone.seconds:.2f} times that of the student alone ({alone.seconds:.3f} s){memory}.'
    )
