"""Measures what padding does to the spectral norms of a distillation, and what is left of that where it does not count.

Every image is taken alone, and then padded on the right and below as in a batch with larger ones. Printed is, for each pair of
taps, the median over the images of |ln(norm padded / norm alone)|, of student, teacher and the ratio of the two, which the
loss sees; beside how much that ratio differs between images:

    python tools/analysis_tools/measure_padding.py configs/camvid/lckd_camvid.py work_dirs/lckd_camvid/epoch_12.pth
"""

import argparse
import logging
import warnings
from typing import List

warnings.filterwarnings('ignore')

import torch  # noqa: E402
from mmengine.dataset import pseudo_collate  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.registry import DATASETS, DefaultScope  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import Tensor  # noqa: E402

from lckd_mm.cli import load_distillation  # noqa: E402

# More of the height, and of the width, than the image has.
PADDINGS = ((0, 0.1), (0, 0.33), (0.33, 0), (0.33, 0.33), (0.6, 0.6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='of a distillation')
    parser.add_argument('checkpoint', help='of its training')
    parser.add_argument('--images', type=int, default=32)
    parser.add_argument('--divisor', type=int, default=32, help='of the sizes, as the networks want it, in pixels')
    args = parser.parse_args()
    MMLogger.get_instance('measure_padding', log_level=logging.WARNING)
    cfg, model = load_distillation(args.config, args.checkpoint)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)

    step = max(len(dataset) // args.images, 1)
    rows: List[List[Tensor]] = []
    for index in track(range(0, step * min(args.images, len(dataset)), step), description='images'):
        batch = model.data_preprocessor(pseudo_collate([dataset[index]]))
        height, width = (size // args.divisor * args.divisor for size in batch['inputs'].shape[-2:])
        rows.append(measure(model, batch['inputs'][..., :height, :width], args.divisor))
    report(torch.stack([torch.stack(row) for row in rows]))


@torch.no_grad()
def measure(model: torch.nn.Module, image: Tensor, divisor: int) -> List[Tensor]:
    """ln of the norms alone, then of each padding with everything counted and with the image counted, (2, pairs) each."""
    found = [norms(model, image, None)]
    height, width = image.shape[-2:]
    for below, right in PADDINGS:
        canvas = [-(-int(size * (1 + more)) // divisor) * divisor for size, more in ((height, below), (width, right))]
        padded = image.new_zeros(*image.shape[:2], *canvas)
        padded[..., :height, :width] = image
        extents = torch.tensor([[height / canvas[0], width / canvas[1]]])
        found += [norms(model, padded, None), norms(model, padded, extents)]
    return found


def norms(model: torch.nn.Module, image: Tensor, extents: Tensor) -> Tensor:
    """ln of the norms of student and teacher, (2, pairs)."""
    distiller = model.distiller
    for side, network in ((distiller.student_recorders, model.student), (distiller.teacher_recorders, model.teacher)):
        with side:
            network.extract_feat(image)
    distiller.extents = extents
    distiller.compute_distill_losses()
    norms_of = next(iter(distiller.spectral_norms.values()))
    return torch.stack([norms_of[side][:, 0] for side in ('student', 'teacher')]).log()


def report(found: Tensor) -> None:
    """Of (images, 1 + 2 paddings, 2, pairs)."""
    found = torch.cat([found, found[:, :, :1] - found[:, :, 1:]], 2)
    alone = found[:, 0]
    table = Table(title='median of |ln(norm padded / norm alone)|, by pair of taps')
    for column in ('padding below, right', 'padding', 'student', 'teacher', 'ratio'):
        table.add_column(column)
    for i, padding in enumerate(PADDINGS):
        for counts, values in (('counts', found[:, 1 + 2 * i]), ('left out', found[:, 2 + 2 * i])):
            shift = (values - alone).abs().median(0).values
            cells = ['  '.join(f'{value:.3f}' for value in side.tolist()) for side in shift]
            table.add_row(' '.join(f'{part:.0%}' for part in padding), counts, *cells)
    spread = '  '.join(f'{value:.3f}' for value in alone[:, 2].std(0).tolist())
    table.add_row('none', 'standard deviation of ln(ratio) between images', '', '', spread)
    Console(width=150).print(table)


if __name__ == '__main__':
    main()
