"""The effect of padding on the spectral norms of a distillation, with and without the valid ratios that exclude it."""

from collections.abc import Iterator

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from lckd_mm.models.interfaces import reports_norms
from lckd_mm.models.utils import get_image_size
from lckd_mm.models.utils.padding import VALID_SHAPE, compute_valid_ratios

from .distillation import build_dataset
from .tables import print_table

# Added height and width, as shares of the image.
PADDINGS = ((0, 0.1), (0, 0.33), (0.33, 0), (0.33, 0.33), (0.6, 0.6))


def sample_images(cfg: Config, model: BaseModel, num_images: int, divisor: int) -> Iterator[Tensor]:
    """Yield preprocessed test images, spread evenly over the data set.

    Args:
        cfg (Config): Config of the distillation.
        model (BaseModel): The distillation.
        num_images (int): Maximum number of images.
        divisor (int): Height and width are cropped to a multiple of this number of pixels.

    Yields:
        Tensor: An image (1, 3, H, W).
    """
    dataset = build_dataset(cfg, 'test')
    step = max(len(dataset) // num_images, 1)
    for index in range(0, step * min(num_images, len(dataset)), step):
        inputs = model.data_preprocessor(pseudo_collate([dataset[index]]))['inputs']
        height, width = (size // divisor * divisor for size in inputs.shape[-2:])
        yield inputs[..., :height, :width]


@torch.no_grad()
def measure_padding(model: BaseModel, image: Tensor, divisor: int) -> Tensor:
    """Compute the norms of an image without padding, and with each padding, counted and excluded.

    Args:
        model (BaseModel): The distillation, in evaluation mode.
        image (Tensor): (1, 3, H, W).
        divisor (int): The padded sizes are multiples of this number of pixels.

    Returns:
        Tensor: Logarithms of the norms, (1 + 2 paddings, 2, pairs): without padding, then for each padding counted and
        excluded; the second dimension is student, teacher.
    """
    norms = [_log_norms(model, image)]
    height, width = image.shape[-2:]
    for below, right in PADDINGS:
        sizes = [-(-int(size * (1 + added)) // divisor) * divisor for size, added in ((height, below), (width, right))]
        padded = image.new_zeros(*image.shape[:2], *sizes)
        padded[..., :height, :width] = image
        samples = [BaseDataElement(metainfo={VALID_SHAPE: (height, width)})]
        norms += [_log_norms(model, padded, samples, is_counted) for is_counted in (True, False)]
    return torch.stack(norms)


def keep_spectral_losses(model: BaseModel) -> None:
    """Remove the losses of a distillation that read no spectral norms, since a measurement runs the backbones alone.

    Args:
        model (BaseModel): The distillation, which is changed.
    """
    distiller = model.distiller
    distiller.loss_forward_mappings = {
        name: mapping
        for name, mapping in distiller.loss_forward_mappings.items()
        if reports_norms(distiller.distill_losses[name])
    }


def _log_norms(
    model: BaseModel, image: Tensor, samples: list[BaseDataElement] | None = None, is_counted: bool = False
) -> Tensor:
    distiller = model.distiller
    # MMRazor's own algorithms give both networks the same pixels.
    convert = getattr(model, 'pixel_conversion', lambda images, _: images)
    for recorders, network, pixels in (
        (distiller.student_recorders, model.student, image),
        (distiller.teacher_recorders, model.teacher, convert(image, samples)),
    ):
        with recorders:
            network.extract_feat(pixels)
    valid_ratios = None if is_counted else compute_valid_ratios(image, samples)
    distiller.compute_distill_losses(valid_ratios, get_image_size(image))
    norms = next(iter(distiller.spectral_norms.values()))
    return torch.stack([norms[side][:, 0] for side in ('student', 'teacher')]).log()


def print_padding(norms: Tensor) -> None:
    """Print the median effect of each padding, and the spread of the ratio between images.

    Args:
        norms (Tensor): Results of :func:`measure_padding`, (images, 1 + 2 paddings, 2, pairs).
    """
    norms = torch.cat([norms, norms[:, :, :1] - norms[:, :, 1:]], 2)
    unpadded = norms[:, 0]
    rows = []
    for i, padding in enumerate(PADDINGS):
        for kind, padded in (('counted', norms[:, 1 + 2 * i]), ('excluded', norms[:, 2 + 2 * i])):
            change = (padded - unpadded).abs().median(0).values
            rows.append([' '.join(f'{share:.0%}' for share in padding), kind, *map(_cell, change)])
    rows.append(['none', 'standard deviation of ln(ratio) over the images', '', '', _cell(unpadded[:, 2].std(0))])
    header = ['added height, width', 'padding', 'student', 'teacher', 'student / teacher']
    title = 'median of |ln(norm with padding / norm without)|, by pair of taps'
    print_table(title, header, rows, width=150, justify=['left'] * len(header))


def _cell(values: Tensor) -> str:
    return '  '.join(f'{value:.3f}' for value in values.tolist())
