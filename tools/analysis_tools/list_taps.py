"""Prints the layers of a model that can be tapped, with their shapes, and for a teacher and a student suggests pairs.

    python tools/analysis_tools/list_taps.py my_detector.py --size 512 512
    python tools/analysis_tools/list_taps.py my_student.py my_teacher.py
    python tools/analysis_tools/list_taps.py my_distillation.py

A config is a path or a config of an installed package, mmdet::retinanet/retinanet_r50_fpn_1x_coco.py. Nothing is downloaded.
"""

import argparse
import contextlib
import logging
import math
import sys
import warnings
from typing import Dict, List, NamedTuple, Optional, Tuple

warnings.filterwarnings('ignore')

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import lckd_mm  # noqa: E402, F401
from lckd_mm.models.algorithms.lipschitz_distill import build_model  # noqa: E402
from lckd_mm.models.task_modules import PreActivationRecorder  # noqa: E402


class Tap(NamedTuple):
    """A layer that yields a feature map."""

    source: str
    data_idx: Optional[int]
    shape: Tuple[int, ...]
    stride: Optional[int]
    """Of the image over the map; None where the map has no grid."""

    before: str
    """The activation it is taken before, or ''."""

    def config(self) -> object:
        """As it stands in ``taps``."""
        return self.source if self.data_idx is None else dict(source=self.source, data_idx=self.data_idx)

    @property
    def channels(self) -> int:
        """C of (B, C, H, W) or (B, N, C)."""
        return self.shape[1] if len(self.shape) == 4 else self.shape[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', help='one model, a distillation, or a student and a teacher')
    parser.add_argument('--size', nargs=2, type=int, default=(224, 224), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--depth', type=int, default=2, help='how many parts a name has: 3 for the blocks of a stage')
    args = parser.parse_args()
    if len(args.configs) > 2:
        parser.error(f'{len(args.configs)} configs: give one, or a student and a teacher')
    logging.disable(logging.WARNING)
    taps = {}
    for name, model in build(args.configs).items():
        taps[name] = find_taps(model, tuple(args.size), args.depth)
        show(f'{name}, image of {args.size[0]} x {args.size[1]}', taps[name])
    if len(taps) == 2:
        suggest(*taps.values())


def build(configs: List[str]) -> Dict[str, nn.Module]:
    """The models by role."""
    if len(configs) == 2:
        return {role: build_model(dict(cfg_path=path)) for role, path in zip(('student', 'teacher'), configs)}
    from mmengine.config import Config
    from mmengine.hub import get_config

    cfg = get_config(configs[0]) if '::' in configs[0] else Config.fromfile(configs[0])
    if 'teacher' in cfg.model:
        return {'student': build_model(cfg.model.architecture), 'teacher': build_model(cfg.model.teacher)}
    return {configs[0]: build_model(dict(cfg_path=configs[0]))}


def find_taps(model: nn.Module, size: Tuple[int, int], depth: int) -> List[Tap]:
    """The layers in the order in which they run, first those of the feature extractor.

    Args:
        model (nn.Module): An OpenMMLab model.
        size (Tuple[int, int]): Height and width of the image.
        depth (int): Most parts of a name; of containers that are never called themselves, one part more.

    Returns:
        List[Tap]: Every layer that yields a map (B, C, H, W) or tokens (B, N, C).
    """
    model.eval()
    called: List[str] = []
    modules = dict(model.named_modules())
    handles = [
        module.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, module in modules.items()
        if name
    ]
    image = torch.zeros(1, 3, *size)
    _run(model, image)
    for handle in handles:
        handle.remove()
    order = list(dict.fromkeys(called))
    chosen = [name for name in order if _n_parts(name, set(order)) <= depth]
    recorders = {name: PreActivationRecorder(name) for name in chosen}
    activations: Dict[str, str] = {}
    for recorder in recorders.values():
        recorder.initialize(model)
    outputs: Dict[str, object] = {}

    def keep(name: str, output: object) -> None:
        # Nothing is returned: a hook's result would take the output's place.
        outputs.setdefault(name, output)

    for name in chosen:
        modules[name].register_forward_hook(lambda _, __, output, name=name: keep(name, output))
    for recorder in recorders.values():
        recorder.__enter__()
    _run(model, image)
    taps = []
    for name, recorder in recorders.items():
        record = recorder.data_buffer[0] if recorder.data_buffer else None
        if isinstance(record, Tensor) and record is not outputs[name]:
            activations[name] = _last_activation(modules[name])
        parts = enumerate(record) if isinstance(record, (tuple, list)) else [(None, record)]
        for index, part in parts:
            if isinstance(part, Tensor) and part.dim() in (3, 4) and part.is_floating_point():
                taps.append(Tap(name, index, tuple(part.shape), _stride(part, size), activations.get(name, '')))
    return taps


def _run(model: nn.Module, image: Tensor) -> None:
    with torch.no_grad():
        if hasattr(model, 'extract_feat'):
            try:
                model.extract_feat(image)
            except Exception as error:
                sys.exit(
                    f'the model does not run on an image of {tuple(image.shape[2:])} pixels ({error}): give another --size'
                )
        # A head may ask for more than an image: what is before it has been seen.
        with contextlib.suppress(Exception):
            model(image)


def _n_parts(name: str, called: set) -> int:
    """Parts of a name, not counting containers that only hold others: a ModuleList of stages."""
    parts = name.split('.')
    return sum('.'.join(parts[:n]) in called or n == len(parts) or n == 1 for n in range(1, len(parts) + 1))


def _last_activation(module: nn.Module) -> str:
    names = [
        type(m).__name__
        for m in module.modules()
        if type(m).__module__.startswith(('torch.nn.modules.activation', 'mmcv'))
    ]
    known = [name for name in names if name.endswith(('LU', 'ish', 'Swish', 'GELU'))]
    return known[-1] if known else 'activation'


def _stride(feature: Tensor, size: Tuple[int, int]) -> Optional[int]:
    if feature.dim() == 4:
        height = feature.shape[2]
    else:
        height = math.isqrt(feature.shape[1])
        if height * height != feature.shape[1] or size[0] != size[1]:
            return None
    return round(size[0] / height)


def show(title: str, taps: List[Tap]) -> None:
    """Print a table."""
    table = Table(title=title)
    for column, justify in (('tap', 'left'), ('shape', 'right'), ('stride', 'right'), ('taken before', 'left')):
        table.add_column(column, justify=justify, no_wrap=True)
    for tap in taps:
        name = tap.source if tap.data_idx is None else f'{tap.source}, data_idx={tap.data_idx}'
        table.add_row(name, ' x '.join(map(str, tap.shape[1:])), str(tap.stride or '-'), tap.before)
    Console(width=max(100, Console().width)).print(table)


def pairs(student: List[Tap], teacher: List[Tap]) -> List[Tuple[Tap, Tap]]:
    """For each stride that both have, the last layer of either backbone at it."""
    ends = []
    for taps in (student, teacher):
        own = [tap for tap in taps if tap.source.startswith('backbone.') and tap.stride]
        ends.append({tap.stride: tap for tap in own})
    common = sorted(set(ends[0]) & set(ends[1]))
    # The stem has seen too little to teach: from stride 4 on, where there are two such.
    late = [stride for stride in common if stride >= 4]
    return [(ends[0][stride], ends[1][stride]) for stride in (late if len(late) > 1 else common)]


def suggest(student: List[Tap], teacher: List[Tap]) -> None:
    """Print taps for a config."""
    found = pairs(student, teacher)
    if len(found) < 2:
        sys.exit('the two backbones have fewer than two strides in common: name taps by hand, as many on either side')
    adapted = [f'{s.channels} to {t.channels}' for s, t in found]
    print('Suggested, the last layers at the strides that both have (channels ' + ', '.join(adapted) + '):')
    print('model = dict(distiller=dict(')
    print(f'    student_taps={[s.config() for s, _ in found]},')
    print(f'    teacher_taps={[t.config() for _, t in found]},')
    print('))')


if __name__ == '__main__':
    main()
