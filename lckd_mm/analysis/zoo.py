"""A check that stock models can be distilled: taps are found, and one step of a self-distillation reaches the backbone."""

import contextlib
import copy
import json
import multiprocessing
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmrazor.registry import MODELS
from torch import Tensor, nn

from lckd_mm.errors import ConfigError
from lckd_mm.models.distillers.network_taps import NetworkTaps
from lckd_mm.models.utils import build_model

from .forward_trace import image_size, trace_model
from .stock_configs import PACKAGES
from .tap_finder import Tap, select_taps

# Parts of a model that compute features, and parts that read them.
_PARTS = ('backbone', 'neck', 'decode_head', 'auxiliary_head', 'rpn_head', 'bbox_head', 'mask_head', 'roi_head', 'head')
_BATCH_SIZE = 2
_STATUSES = ('works', 'refused', 'fails', 'not built')


def read_model(path: Path) -> dict[str, Any]:
    """Read the model of a stock config; its weights are not loaded.

    Args:
        path (Path): A config of an OpenMMLab package.

    Returns:
        dict: The model config, with its scope.
    """
    cfg = Config.fromfile(path)
    model: dict[str, Any] = without_weights(cfg['model'])
    if cfg.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    # Some files leave out the scope, which the package implies.
    model['_scope_'] = cfg.get('default_scope') or next((part for part in path.parts if part in PACKAGES), 'mmengine')
    return model


def without_weights(part: Any) -> Any:
    """Return a copy of a model config that names no pretrained weights.

    Example:
        >>> without_weights(dict(type='ResNet', init_cfg=dict(type='Pretrained'), norm_cfg=dict(type='MMSyncBN')))
        {'type': 'ResNet', 'norm_cfg': {'type': 'BN'}}
    """
    if part == 'MMSyncBN':
        # This layer can only be built in a distributed training.
        return 'BN'
    if isinstance(part, dict):
        return type(part)(
            {key: without_weights(value) for key, value in part.items() if key not in ('init_cfg', 'pretrained')}
        )
    return type(part)(map(without_weights, part)) if isinstance(part, (list, tuple)) else part


def distillation_step(student: BaseModel, teacher: BaseModel) -> tuple[list[Tap], Tensor]:
    """Find the taps of a model, build its distillation from a model of the same config, and take a step without annotations.

    Args:
        student (BaseModel): The model.
        teacher (BaseModel): A model of the same config with other weights.

    Returns:
        tuple[list[Tap], Tensor]: The taps, and the norm of the gradient of the Lipschitz loss with respect to the student's backbone.

    Raises:
        ConfigError: The model is refused.
    """
    root = trace_model(student)
    size, taps = image_size(root), select_taps(student, root, trained=True)
    shape = tuple(root.arguments[0].shape[1:])
    # The graph of the traced forward pass is as large as the student's activations.
    del root
    distiller = dict(
        type='LipschitzDistiller', taps=[tap.config for tap in taps], losses=['lipschitz'], probe_inputs=shape
    )
    distillation = MODELS.build(
        dict(
            type='LipschitzDistill',
            architecture=student,
            teacher=teacher,
            distiller=distiller,
            allow_random_teacher=True,
        )
    )
    return taps, _backward(distillation, torch.rand(_BATCH_SIZE, *shape), size)


def _backward(distillation: BaseModel, images: Tensor, size: tuple[int, int]) -> Tensor:
    distillation.train()
    student, distiller = distillation.architecture, distillation.distiller
    with distiller.student_recorders, distiller.teacher_recorders:
        _run_backbone(student, distiller.network_taps[True], images)
        with torch.no_grad():
            _run_backbone(distillation.teacher, distiller.network_taps[False], images)
    loss = torch.stack(list(distiller.compute_distill_losses(image_size=size).values())).sum()
    loss.backward()
    parameters = list(getattr(student, 'backbone', student).parameters())
    norms = [parameter.grad.norm() for parameter in parameters if parameter.grad is not None]
    return torch.stack(norms).norm() if norms else torch.zeros(())


def _run_backbone(model: nn.Module, taps: NetworkTaps, images: Tensor) -> None:
    extract_feat = getattr(model, 'extract_feat', None)
    if extract_feat is not None:
        # A neck can have operations that do not run on this device; only the backbone is needed.
        with contextlib.suppress(Exception):
            extract_feat(images)
    if not all(map(taps.is_recorded, taps.taps)):
        taps.clear()
        getattr(model, 'backbone', model)(images)


def combination(model: Mapping[str, Any]) -> str:
    """Return the types of the parts of a model, which configs of different data sets and schedules share.

    Example:
        >>> combination(dict(type='ImageClassifier', backbone=dict(type='VGG', depth=11), head=dict(type='ClsHead')))
        'ImageClassifier, VGG, ClsHead'
    """
    kinds = [model.get('type'), *(_types(model.get(part)) for part in _PARTS)]
    # Algorithms that contain a detector differ in it.
    kinds += [] if model.get('backbone') else [_types(value) for value in model.values() if isinstance(value, dict)]
    return ', '.join(str(kind) for kind in kinds if kind)


def _types(part: Any) -> str:
    if isinstance(part, (list, tuple)):
        return ' + '.join(dict.fromkeys(filter(None, map(_types, part))))
    kind = part.get('type', '') if isinstance(part, dict) else ''
    return kind if isinstance(kind, str) else kind.__name__


def check_model(path: Path) -> dict[str, Any]:
    """Try the distillation of a stock model.

    Args:
        path (Path): A config of an OpenMMLab package.

    Returns:
        dict: ``status``, which is ``'works'``, ``'refused'`` (with the sentence as ``message``), ``'fails'`` or ``'not built'``, if the
        package cannot build the model; and ``taps``.

    Example:
        >>> from lckd_mm.analysis.stock_configs import stock_configs
        >>> path = next(path for path in stock_configs(['mmpretrain']) if path.name == 'mobilenet-v3-small-050_8xb128_in1k.py')
        >>> check_model(path)['taps'][0]
        'backbone.layer1 at 4: last map at stride 4'
    """
    try:
        model = read_model(path)
        with DefaultScope.overwrite_default_scope(model['_scope_']):
            student, teacher = (build_model(copy.deepcopy(model)) for _ in range(2))
    except Exception as error:
        return dict(status='not built', message=_describe(error))
    try:
        taps, gradient = distillation_step(student, teacher)
    except ConfigError as error:
        return dict(status='refused', message=str(error))
    except Exception as error:
        return dict(status='fails', message=_describe(error))
    if not float(gradient) > 0:
        return dict(status='fails', message=f'the gradient at the backbone is {float(gradient)}')
    return dict(status='works', taps=[f'{tap.config} at {tap.stride}: {tap.reason}' for tap in taps])


def _describe(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'


def walk_zoo(paths: Iterable[Path], results: Path, timeout: float = 180) -> Iterator[dict[str, Any]]:
    """Check one stock config for each combination of model types, each in a process of its own.

    Args:
        paths (Iterable[Path]): Config files.
        results (Path): File of one JSON object per line, which is continued if it exists.
        timeout (float): Seconds after which a check is ended. Defaults to 180.

    Yields:
        dict: ``config``, ``combination``, and the result of :func:`check_model`.
    """
    lines = results.read_text().splitlines() if results.exists() else []
    known = {json.loads(line)['combination'] for line in lines}
    for path in paths:
        name = '/'.join(path.parts[-3:])
        try:
            kind = f'{path.parts[-5] if len(path.parts) > 4 else ""}: {combination(read_model(path))}'
        except KeyError:
            # A file of a schedule or of test-time augmentation.
            continue
        except Exception as error:
            kind, result = name, dict(status='not built', message=_describe(error))
        else:
            result = {} if kind in known else _check_apart(path, timeout)
        if kind not in known:
            known.add(kind)
            record = dict(config=name, combination=kind, **result)
            with results.open('a') as file:
                file.write(f'{json.dumps(record)}\n')
            yield record


def _check_apart(path: Path, timeout: float) -> dict[str, Any]:
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process, start = context.Process(target=_send_result, args=(path, sender)), time.monotonic()
    process.start()
    sender.close()
    try:
        result: dict[str, Any] = (
            receiver.recv() if receiver.poll(timeout) else dict(status='fails', message=f'ended after {timeout} s')
        )
    except EOFError:
        process.join()
        result = dict(status='fails', message=f'the process ended with exit code {process.exitcode}')
    process.kill()
    process.join()
    return dict(result, seconds=round(time.monotonic() - start, 1))


def _send_result(path: Path, sender: Any) -> None:
    torch.set_num_threads(1)
    sender.send(check_model(path))


def summarize(records: Iterable[Mapping[str, Any]]) -> str:
    """Return the counts, and the messages with their numbers of configs.

    Example:
        >>> print(summarize([dict(status='works'), dict(status='fails', message='KeyError: 1', config='a.py')]))
        2 combinations: works: 1, refused: 0, fails: 1, not built: 0
        fails: a.py: KeyError: 1
    """
    records = list(records)
    counts = {status: sum(record['status'] == status for record in records) for status in _STATUSES}
    lines = [
        f'{record["status"]}: {record["config"]}: {record["message"]}' for record in records if 'message' in record
    ]
    title = f'{len(records)} combinations: ' + ', '.join(f'{status}: {count}' for status, count in counts.items())
    return '\n'.join([title, *sorted(lines)])
