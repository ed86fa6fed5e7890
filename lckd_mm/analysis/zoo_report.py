"""The page of the stock models that can be distilled, written from the results of a walk."""

import importlib.metadata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .stock_configs import PACKAGES
from .tables import markdown_table
from .zoo import STATUSES
from .zoo_models import GROUPS

Record = Mapping[str, Any]

_INTRODUCTION = """\
# Stock models

This page lists which models of the installed mmdet, mmseg and mmpretrain lckd_mm distills without any option. Models whose configs have the
same types of backbone, neck and heads are one combination. Files without a model are left out. For each combination, the config with the
smallest backbone is built twice, with random weights, as student and teacher. If the package cannot build it, up to two others are tried.
Then:

1. The taps of the student are found as by `python -m lckd_mm taps`. The teacher has the same config, and the same taps. No tap is
   configured.
2. `LipschitzDistill` is built with `losses=['lipschitz']`, and its weights are initialized. BNs receive the statistics of the images.
3. `train_step` takes one step of SGD on two images of noise with random annotations. The step includes the losses of the model itself.
   They may need an operation or an annotation that is not available here. Then the model without lckd_mm raises an error as well, and the
   step has the Lipschitz loss alone, computed from the backbone. Column *step* says which.
4. The gradient of the Lipschitz loss with respect to the student's backbone is positive.
5. The step has changed no tensor of the teacher. No parameter outside of the student has a gradient. Apart from the data preprocessor,
   the networks share no module and no memory.
6. The student receives the teacher's weights. In evaluation mode, the Lipschitz loss of the two equal networks is 0.

A check has {seconds:g} s of CPU time, {gigabytes} GB of memory and no network. The images have 128 x 128 pixels where the model takes
them, else the size of its config, 224 x 224, 320 x 320 or 32 x 32. Detectors have at most 64 queries, proposals and samples. Pretrained
weights, layers that need a distributed training and resizing of batches are left out. Nothing else of a model is changed.
[your_own_model.md](your_own_model.md#choose-the-layers) describes how taps are found, and how those of different architectures are paired.

The results are in [results/zoo.jsonl](results/zoo.jsonl). This command continues an interrupted check, and writes this page.
Delete the file to repeat all checks, or lines of it to repeat some:

```bash
python tools/dev/check_zoo.py docs/results/zoo.jsonl --page docs/zoo.md
```
"""


def count_statuses(records: Iterable[Record]) -> Counter[str]:
    """Return the number of records of each status."""
    return Counter(record['status'] for record in records)


def summarize(records: Iterable[Record]) -> str:
    """Return the counts, and the messages.

    Example:
        >>> print(summarize([dict(status='works'), dict(status='fails', message='KeyError: 1', config='a.py')]))
        2 combinations: works 1, refused 0, fails 1, not built 0, over limit 0, apart 0
        fails: a.py: KeyError: 1
    """
    records = list(records)
    counts = count_statuses(records)
    lines = [
        f'{record["status"]}: {record["config"]}: {record["message"]}' for record in records if 'message' in record
    ]
    title = f'{len(records)} combinations: ' + ', '.join(f'{status} {counts[status]}' for status in STATUSES)
    return '\n'.join([title, *sorted(lines)])


def render_page(records: Sequence[Record], cpu_seconds: float, memory_bytes: int) -> str:
    """Return the page in Markdown.

    Args:
        records (Sequence[Mapping]): The results of :func:`walk_zoo`.
        cpu_seconds (float): The limit of the CPU time of a check.
        memory_bytes (int): The limit of its memory.

    Returns:
        str: The page.
    """
    records = sorted(records, key=lambda record: (record['package'], record['combination'], record['config']))
    parts = [_INTRODUCTION.format(seconds=cpu_seconds, gigabytes=memory_bytes // 2**30), _counts(records)]
    for status, title, text in (
        ('refused', 'Refused', 'lckd_mm names the reason in one sentence, before training or in its first step.'),
        ('fails', 'Fails', 'These are errors of lckd_mm.'),
    ):
        selected = [record for record in records if record['status'] == status]
        if selected:
            parts.append(f'## {title}\n\n{text}\n\n{_messages(selected)}')
    parts += [_works(records, package) for package in PACKAGES]
    parts.append(_not_counted(records))
    return '\n'.join(parts).rstrip() + '\n'


def _counts(records: Sequence[Record]) -> str:
    rows = []
    for package in (*PACKAGES, ''):
        selected = [record for record in records if package in ('', record['package'])]
        counts = count_statuses(selected)
        checked = sum(counts[status] for status in ('works', 'refused', 'fails'))
        share = [
            f'{counts[status]} ({counts[status] / max(1, checked):.1%})' for status in ('works', 'refused', 'fails')
        ]
        training = sum(record.get('step') == 'training' for record in selected if record['status'] == 'works')
        others = [str(counts[status]) for status in ('over limit', 'not built', 'apart')]
        configs = sum(record['num_configs'] for record in selected)
        rows.append([package or 'all', str(configs), str(checked), *share, str(training), *others])
    title = ['package', 'configs', 'combinations', 'works', 'refused', 'fails', 'with the losses of the model']
    title += ['over limit', 'not built', 'listed apart']
    dates = sorted({record['date'] for record in records if 'date' in record})
    versions = [
        f'{name} {_version(name)}'
        for name in ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmsegmentation', 'mmpretrain', 'mmrazor')
    ]
    text = (
        f'Date: {" to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else "unknown"}. Versions: {", ".join(versions)}, on a CPU.\n\n'
        'The percentages are those of the combinations that the package can build here within the limits.'
    )
    return f'## Counts\n\n{text}\n\n{_table(title, rows)}\n'


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return 'not installed'


def _messages(records: Iterable[Record]) -> str:
    rows = [[f'{record["package"]} `{record["config"]}`', _cell(record['message'])] for record in records]
    return _table(['config', 'message'], rows) + '\n'


def _works(records: Sequence[Record], package: str) -> str:
    selected = [record for record in records if record['package'] == package and record['status'] == 'works']
    rows = [
        [
            f'`{record["config"]}`',
            _cell(record['combination']),
            str(record['num_configs']),
            ', '.join(f'`{name}` {stride}' for name, stride in (tap.rsplit(' at ', 1) for tap in record['taps'])),
            record['step']
            if record['step'] == 'training'
            else _cell(f'Lipschitz loss alone, since: {record["reason"]}'),
        ]
        for record in selected
    ]
    table = _table(['config', 'combination', 'configs', 'taps and strides', 'step'], rows)
    return (
        f'## {package}\n\n<details><summary>{len(selected)} combinations that work</summary>\n\n{table}\n\n</details>\n'
    )


def _not_counted(records: Sequence[Record]) -> str:
    parts = ['## Not counted\n']
    for status, text in (
        ('over limit', 'These models need more CPU time or memory than the limits.'),
        ('not built', 'The package itself cannot read or build these models here.'),
    ):
        selected = [record for record in records if record['status'] == status]
        parts.append(f'### {status.capitalize()}\n\n{text}\n\n{_messages(selected)}' if selected else '')
    parts.append('### Listed apart\n\nThese models are not trained on annotated images alone. They are not checked.\n')
    for group in GROUPS:
        names = [f'`{record["config"]}`' for record in records if record.get('group') == group]
        parts.append(f'- {group}: {len(names)} combinations: {", ".join(names)}')
    return '\n'.join(filter(None, parts))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return '\n'.join(markdown_table(header, rows))


def _cell(text: str) -> str:
    return ' '.join(text.replace('|', '\\|').replace('<', '&lt;').split())
