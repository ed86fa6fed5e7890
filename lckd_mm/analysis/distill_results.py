"""What the verb ``distill`` leaves: the student as a plain checkpoint with its plain config, a report and a picture."""

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from lckd_mm.atomic_files import write_text
from lckd_mm.checkpoint import load_data
from lckd_mm.engine.norm_log import NormRow, plot_norms, read_norms
from lckd_mm.errors import ConfigRuntimeError
from lckd_mm.models.utils import build_model, export_student

from .comparison_settings import config_fingerprint, device_name, file_digest, package_versions
from .configs import load_config
from .logs import Scalars, median_seconds, read_scalars
from .plotting import new_figure, save_figure
from .tables import markdown_table
from .teacher_metric import main_metric
from .training import chosen_checkpoint

STUDENT_CHECKPOINT, STUDENT_CONFIG = 'student.pth', 'student.py'
REPORT, PICTURE = 'report.md', 'report.png'
RESULTS = (STUDENT_CHECKPOINT, STUDENT_CONFIG, REPORT, PICTURE)


@dataclass(frozen=True)
class Findings:
    """What is known beside the training's own files.

    Attributes:
        student: Config of the student, as the user named it.
        teacher: Config of the teacher.
        checkpoint: The teacher's checkpoint.
        config: The config of the distillation.
        before: The lines that were printed before the training.
        teacher_metrics: Metrics of the teacher on the validation data; empty if it was not evaluated.
        baseline: Metric of the student alone, and its source; None if it is not known.
        verdict: Sentences of a comparison with the student alone.
    """

    student: str
    teacher: str
    checkpoint: str
    config: str
    before: tuple[str, ...] = ()
    teacher_metrics: Mapping[str, float] | None = None
    baseline: tuple[float, str] | None = None
    verdict: tuple[str, ...] = ()


def write_results(work_dir: Path, run_dir: Path, student_cfg: Config, findings: Findings) -> list[Path]:
    """Write the student, the report and the picture of a finished training.

    Args:
        work_dir (Path): The folder that receives the files.
        run_dir (Path): The work directory of the training.
        student_cfg (Config): The student's plain config.
        findings (Findings): What is known beside the training's own files.

    Returns:
        list[Path]: The files.

    Raises:
        ConfigRuntimeError: The exported student does not load strictly into its plain config.
        ConfigFileNotFoundError: The training has saved no checkpoint.
    """
    scalars = read_scalars(run_dir)
    names = sorted({name for reading in scalars.val.values() for name in reading if _is_metric(reading, name)})
    metric = main_metric(student_cfg, names)
    checkpoint = chosen_checkpoint(run_dir)
    record = provenance(findings, scalars, metric, checkpoint)
    paths = [work_dir / name for name in RESULTS]
    work_dir.mkdir(parents=True, exist_ok=True)
    student_cfg.dump(paths[1])
    export_student(checkpoint, paths[0], dict(distillation=record))
    check_export(*paths[:2])
    norms = _read_norms(run_dir)
    draw_report(paths[3], scalars, metric, norms, findings)
    write_text(paths[2], '\n'.join([*report_lines(record, scalars, metric, norms, findings, checkpoint), '']))
    return paths


def _is_metric(reading: Mapping[str, Any], name: str) -> bool:
    return name not in ('step', 'epoch', 'iter', 'time', 'data_time') and isinstance(reading[name], (int, float))


def provenance(findings: Findings, scalars: Scalars, metric: str | None, checkpoint: Path) -> dict[str, Any]:
    """Return where a student comes from, as plain data.

    Args:
        findings (Findings): What is known.
        scalars (Scalars): Scalars of the training.
        metric (str, optional): Name of the main metric.
        checkpoint (Path): The exported checkpoint.

    Returns:
        dict: Configs, checkpoints with their SHA-256, the fingerprint of the config, versions, device, date, and metrics.
    """
    course = {step: reading[metric] for step, reading in sorted(scalars.val.items()) if metric in reading}
    return dict(
        student=findings.student,
        teacher=findings.teacher,
        teacher_checkpoint=findings.checkpoint,
        teacher_sha256=file_digest(Path(findings.checkpoint).expanduser()),
        config=findings.config,
        config_fingerprint=config_fingerprint(load_config(findings.config)),
        source_checkpoint=checkpoint.name,
        metric=metric,
        last_value=float(course[max(course)]) if course else None,
        exported_value=_value_at(checkpoint, course),
        teacher_metrics={name: float(value) for name, value in (findings.teacher_metrics or {}).items()},
        baseline=None if findings.baseline is None else list(findings.baseline),
        seconds_per_iteration=median_seconds(scalars.train) if scalars.train else None,
        device=device_name(),
        versions=package_versions(),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
    )


def check_export(checkpoint: Path, config: Path) -> None:
    """Load an exported student strictly into its plain config.

    Args:
        checkpoint (Path): The exported student.
        config (Path): The plain config.

    Raises:
        ConfigRuntimeError: Keys are missing or unexpected.
    """
    student = build_model(dict(cfg_path=str(config)))
    try:
        student.load_state_dict(load_data(checkpoint, map_location='cpu')['state_dict'])
    except RuntimeError as error:
        raise ConfigRuntimeError(
            f'{str(checkpoint)!r} does not load strictly into {str(config)!r}: {" ".join(str(error).split())[:300]}; use '
            '`python -m lckd_mm export` with a plain config of the student that has the same overrides.'
        ) from error


def _read_norms(run_dir: Path) -> list[NormRow]:
    path = run_dir / 'lipschitz' / 'spectral_norms.csv'
    return read_norms(path) if path.is_file() else []


def report_lines(
    record: Mapping[str, Any],
    scalars: Scalars,
    metric: str | None,
    norms: Sequence[NormRow],
    findings: Findings,
    checkpoint: Path,
) -> list[str]:
    """Return the lines of the report.

    Args:
        record (dict): Result of :func:`provenance`.
        scalars (Scalars): Scalars of the training.
        metric (str, optional): Name of the main metric.
        norms (Sequence[NormRow]): The spectral norms.
        findings (Findings): What is known beside them.
        checkpoint (Path): The exported checkpoint.

    Returns:
        list[str]: Markdown.
    """
    lines = [f'# {Path(findings.student).stem}, distilled from {Path(findings.teacher).stem}', '']
    lines += [*_summary(record, metric, findings), '', f'![metric and spectral norms]({PICTURE})', '']
    if findings.verdict:
        lines += ['## Verdict', '', *(f'- {sentence}' for sentence in findings.verdict), '']
    if metric is not None:
        rows = [
            [str(step), f'{reading[metric]:.4g}'] for step, reading in sorted(scalars.val.items()) if metric in reading
        ]
        lines += ['## Metric during the training', '', *markdown_table(['step', metric], rows), '']
    if norms:
        lines += ['## Spectral norms', '', *markdown_table(*_norm_table(norms)), '']
    if findings.before:
        lines += ['## Before the training', '', '```text', *findings.before, '```', '']
    settings = {
        key: value for key, value in record.items() if key not in ('metric', 'teacher_metrics', 'baseline', 'versions')
    }
    rows = [[key, str(value)] for key, value in {**settings, **record['versions']}.items()]
    lines += ['## Settings', '', *markdown_table(['setting', 'value'], rows), '', '## Files', '']
    lines += [
        f'- `{STUDENT_CHECKPOINT}`: the student of `{checkpoint.name}`, which `{STUDENT_CONFIG}` loads without lckd_mm.',
        f'- `{STUDENT_CONFIG}`: the plain config of the student.',
        f'- `{findings.config}`: the config of the distillation.',
    ]
    return lines


def _value_at(checkpoint: Path, course: Mapping[int, Any]) -> float | None:
    """Return the metric of a best checkpoint, whose name ends with its epoch or iteration; None for another one."""
    step = re.search(r'^best_.*_(?:epoch|iter)_(\d+)$', checkpoint.stem)
    value = course.get(int(step[1])) if step else None
    return None if value is None else float(value)


def _summary(record: Mapping[str, Any], metric: str | None, findings: Findings) -> list[str]:
    if metric is None:
        return ['The training evaluated no metric: its config has no validation data.']
    rows = [['student with distillation, last', f'{record["last_value"]:.4g}']]
    if record['exported_value'] is not None:
        rows.append([f'the same, exported ({record["source_checkpoint"]})', f'{record["exported_value"]:.4g}'])
    if findings.teacher_metrics and metric in findings.teacher_metrics:
        rows.append(['teacher', f'{findings.teacher_metrics[metric]:.4g}'])
    if findings.baseline is not None:
        rows.append([f'student alone ({findings.baseline[1]})', f'{findings.baseline[0]:.4g}'])
    note = 'One training shows that the distillation works, not that it helps: `--compare 0 1 2` compares seeds with the student alone.'
    return [*markdown_table(['model', metric], rows), *([] if findings.verdict else ['', note])]


def _norm_table(norms: Sequence[NormRow]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for loss, pair in dict.fromkeys((row['loss'], row['pair']) for row in norms):
        course = [row for row in norms if (row['loss'], row['pair']) == (loss, pair)]
        ratios = [f'{row["student"] / row["teacher"]:.2f}' if row['teacher'] else '' for row in (course[0], course[-1])]
        rows.append([loss, pair, f'{course[-1]["teacher"]:.4g}', f'{course[-1]["student"]:.4g}', *ratios])
    header = [
        'loss',
        'pair of taps',
        'teacher, last',
        'student, last',
        'student / teacher, first',
        'student / teacher, last',
    ]
    return header, rows


def draw_report(path: Path, scalars: Scalars, metric: str | None, norms: Sequence[NormRow], findings: Findings) -> None:
    """Draw the metric during the training, with the teacher and the student alone, and the spectral norms.

    Args:
        path (Path): The image file.
        scalars (Scalars): Scalars of the training.
        metric (str, optional): Name of the main metric.
        norms (Sequence[NormRow]): The spectral norms.
        findings (Findings): The teacher's metric and that of the student alone.
    """
    norms = [row for row in norms if row['loss'] == norms[0]['loss']]
    num_panels = 1 + len({row['pair'] for row in norms})
    figure, axes = new_figure(1, num_panels, size=(3.4 * num_panels, 3.4))
    name = metric or 'loss'
    readings = scalars.val if metric is not None else scalars.train
    course = {step: reading[name] for step, reading in sorted(readings.items()) if name in reading}
    axes[0].plot(list(course), list(course.values()), marker='.', color='tab:orange', label='student with distillation')
    if metric is not None and findings.teacher_metrics and metric in findings.teacher_metrics:
        axes[0].axhline(findings.teacher_metrics[metric], color='black', linestyle='--', label='teacher')
    if metric is not None and findings.baseline is not None:
        axes[0].axhline(findings.baseline[0], color='tab:blue', label='student alone')
    axes[0].set(xlabel='step of the evaluation' if metric else 'iteration', ylabel=name)
    axes[0].grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    if norms:
        plot_norms(axes[1:], norms)
    save_figure(figure, path)


def save_findings(path: Path, findings: Findings) -> None:
    """Store findings, so that a resumed command reports them.

    Args:
        path (Path): A JSON file.
        findings (Findings): The findings.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(vars(findings), indent=1))


def load_findings(path: Path) -> Findings:
    """Read what :func:`save_findings` has stored.

    Args:
        path (Path): The JSON file.

    Returns:
        Findings: The findings.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> findings = Findings('a.py', 'b.py', 'b.pth', 'c.py', ('line',), {'mIoU': 1.0}, (2.0, 'published'))
        >>> with TemporaryDirectory() as folder:
        ...     save_findings(Path(folder, 'findings.json'), findings)
        ...     load_findings(Path(folder, 'findings.json')) == findings
        True
    """
    content = json.loads(path.read_text())
    lists = {key: tuple(value) for key, value in content.items() if isinstance(value, list)}
    return Findings(**{**content, **lists})
