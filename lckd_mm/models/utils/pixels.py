"""Conversion of preprocessed pixels from the student's normalization and channel order to the teacher's."""

import logging
from dataclasses import dataclass
from numbers import Number
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from lckd_mm.errors import ConfigValueError

from .padding import image_sizes

# mmengine and mmdet, mmseg, mmpretrain: a preprocessor has one of these, for either direction.
_REVERSAL_FLAGS = ('_channel_conversion', 'channel_conversion', 'to_rgb', 'bgr_to_rgb', 'rgb_to_bgr')
# mmengine, mmdet and mmpretrain; mmseg.
_PAD_VALUES = ('pad_value', 'pad_val')


@dataclass(frozen=True)
class PixelFormat:
    """What a data preprocessor makes of the pixels that the pipeline returns: reversed channels, then ``(pixel - mean) / std``.

    Attributes:
        is_reversed: Whether the order of three channels is reversed.
        mean: One value per channel in the final order, or one for all channels.
        std: As ``mean``.
        pad_value: Value of the padding, which is added after the normalization. None if the preprocessor does not pad.
    """

    is_reversed: bool = False
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    pad_value: float | None = None

    @property
    def is_raw(self) -> bool:
        """Whether the pixels inside the image are those of the pipeline."""
        return not self.is_reversed and set(self.mean) == {0.0} and set(self.std) == {1.0}


def read_pixel_format(preprocessor: Any) -> PixelFormat | None:
    """Return the pixel format of a data preprocessor.

    Args:
        preprocessor (nn.Module): A data preprocessor of mmengine, mmdet, mmseg or mmpretrain, or of a package that keeps their attributes.
            A ``BaseDataPreprocessor`` without any of them leaves the pixels as they are.

    Returns:
        PixelFormat, optional: The format. None if it cannot be read from the attributes.

    Example:
        >>> from mmengine.model import ImgDataPreprocessor
        >>> read_pixel_format(ImgDataPreprocessor(mean=[127], std=[64], bgr_to_rgb=True))
        PixelFormat(is_reversed=True, mean=(127.0,), std=(64.0,), pad_value=0.0)
    """
    if not isinstance(preprocessor, BaseDataPreprocessor):
        return None
    is_normalizing = getattr(preprocessor, '_enable_normalize', None)
    if is_normalizing is None and (hasattr(preprocessor, 'mean') or any(True for _ in preprocessor.buffers())):
        return None
    statistics = {}
    for name in ('mean', 'std') if is_normalizing else ():
        values = getattr(preprocessor, name, None)
        # One value per channel, and the channels before height and width: (C, 1, 1), in mmdet's tracking (1, C, 1, 1).
        if not isinstance(values, Tensor) or values.dim() < 3 or values.shape[-3] != values.numel():
            return None
        statistics[name] = tuple(values.double().flatten().tolist())
    pad_value = next((getattr(preprocessor, name) for name in _PAD_VALUES if hasattr(preprocessor, name)), None)
    return PixelFormat(
        is_reversed=any(bool(getattr(preprocessor, name, False)) for name in _REVERSAL_FLAGS),
        pad_value=float(pad_value) if isinstance(pad_value, Number) else None,  # type: ignore[arg-type]
        **statistics,
    )


def is_default_preprocessor(preprocessor: Any) -> bool:
    """Return whether a data preprocessor is as models build it without a ``data_preprocessor``: no normalization and no padding."""
    pixels = read_pixel_format(preprocessor)
    sizes = [getattr(preprocessor, name, None) for name in ('pad_size_divisor', 'size', 'size_divisor')]
    return pixels is not None and pixels.is_raw and all(size in (None, 0, 1) for size in sizes)


class PixelConversion:
    """Converts a batch of the student's data preprocessor to what the teacher's makes of the same images.

    Both networks share the pipeline, so that only the data preprocessors differ. Inside an image the conversion is one affine function per
    channel, after a reversal of the channels if the final orders differ. It is exact to rounding, also after batch augmentations that
    mix or paste images of one size. Padding gets the teacher's pad value.

    Args:
        student (PixelFormat): The format of the batch.
        teacher (PixelFormat): The format that the teacher was trained with.

    Raises:
        ConfigValueError: A standard deviation is 0, or the numbers of channels differ.

    Example:
        >>> raw, normalized = PixelFormat(), PixelFormat(mean=(128.0,), std=(64.0,))
        >>> PixelConversion(raw, normalized)(torch.full((1, 1, 1, 2), 192.0))
        tensor([[[[1., 1.]]]])
    """

    def __init__(self, student: PixelFormat, teacher: PixelFormat) -> None:
        for role, pixels in (('student', student), ('teacher', teacher)):
            if 0.0 in pixels.std:
                raise ConfigValueError(
                    f"the {role}'s data_preprocessor has std={_format(pixels.std)}, by which no pixel can be divided: use positive values."
                )
        counts = [len(values) for pixels in (student, teacher) for values in (pixels.mean, pixels.std)]
        num_channels = max(counts)
        if set(counts) - {1, num_channels}:
            raise ConfigValueError(
                f"the student's data_preprocessor has mean={_format(student.mean)} and the teacher's {_format(teacher.mean)}, but both "
                'networks receive the same images: use a teacher with as many channels.'
            )
        self.student, self.teacher = student, teacher
        self.is_reversing = student.is_reversed != teacher.is_reversed
        means, stds = (
            [_spread(values, num_channels) for values in pair] for pair in zip(*map(_statistics, (student, teacher)))
        )
        if self.is_reversing:
            means[0], stds[0] = means[0][::-1], stds[0][::-1]
        self.scale = [a / b for a, b in zip(*stds)]
        self.shift = [(a - b) / std for a, b, std in zip(*means, stds[1])]
        self._tensors: dict[torch.device, tuple[Tensor, Tensor]] = {}
        self._has_warned = False

    @property
    def is_identity(self) -> bool:
        """Whether the two formats are the same."""
        is_affine = self.is_reversing or set(self.scale) != {1.0} or set(self.shift) != {0.0}
        has_padding = None not in (self.student.pad_value, self.teacher.pad_value)
        return not is_affine and not (has_padding and self.student.pad_value != self.teacher.pad_value)

    def __call__(self, batch_inputs: Tensor, data_samples: list[Any] | None = None) -> Tensor:
        """Convert a batch.

        Args:
            batch_inputs (Tensor): (B, C, H, W) or (B, T, C, H, W) of the student's data preprocessor.
            data_samples (list, optional): The annotations, from which :func:`image_sizes` reads where the padding is. Defaults to None, no
                padding.

        Returns:
            Tensor: The converted batch, in float32 unless the batch is in half precision; ``batch_inputs`` itself if both formats are the
            same. Inputs that are no tensor of images are returned as they are, with a warning.
        """
        if self.is_identity:
            return batch_inputs
        if not isinstance(batch_inputs, Tensor) or batch_inputs.dim() not in (4, 5):
            self._warn(batch_inputs)
            return batch_inputs
        scale, shift = self._constants(batch_inputs.device)
        dtype = batch_inputs.dtype if batch_inputs.is_floating_point() else torch.float32
        images = batch_inputs.flip(-3) if self.is_reversing and batch_inputs.shape[-3] == 3 else batch_inputs
        images = torch.addcmul(shift, images.to(torch.promote_types(dtype, torch.float32)), scale).to(dtype)
        sizes = image_sizes(batch_inputs, data_samples) if self.teacher.pad_value is not None else None
        for image, (height, width) in zip(images, sizes or ()):
            image[..., height:, :] = self.teacher.pad_value
            image[..., width:] = self.teacher.pad_value
        return images

    def _warn(self, batch_inputs: Any) -> None:
        if not self._has_warned:
            print_log(
                f'The teacher receives the pixels of the student without a conversion ({self}), since the data_preprocessor returns a '
                f'{type(batch_inputs).__name__} instead of a tensor of images: use one data_preprocessor for both networks.',
                logger='current',
                level=logging.WARNING,
            )
        self._has_warned = True

    def _constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if device not in self._tensors:
            scale, shift = (torch.tensor(values).view(-1, 1, 1).to(device) for values in (self.scale, self.shift))
            self._tensors[device] = (scale, shift)
        return self._tensors[device]

    def __str__(self) -> str:
        changes = []
        for name in ('mean', 'std'):
            student, teacher = (getattr(pixels, name) for pixels in (self.student, self.teacher))
            if student != teacher:
                changes.append(f'{name} {_format(student)} to {_format(teacher)}')
        if self.is_reversing:
            changes.append('order of the channels reversed')
        pads = self.student.pad_value, self.teacher.pad_value
        if None not in pads and pads[0] != pads[1]:
            changes.append(f'padding {pads[0]:g} to {pads[1]:g}')
        return ', '.join(changes)


def _statistics(pixels: PixelFormat) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return pixels.mean, pixels.std


def _format(values: tuple[float, ...]) -> str:
    return f'[{", ".join(f"{value:g}" for value in values)}]'


def _spread(values: tuple[float, ...], num_channels: int) -> tuple[float, ...]:
    return values * num_channels if len(values) == 1 else values


def make_pixel_conversion(student: Any, teacher: Any) -> PixelConversion:
    """Return the conversion between two data preprocessors, and log what it changes.

    Args:
        student (nn.Module): The data preprocessor of the batches.
        teacher (nn.Module): That of the teacher; the same object if the teacher has none of its own.

    Returns:
        PixelConversion: The conversion; the identity, with a warning, if a format cannot be read from a preprocessor.

    Raises:
        ConfigValueError: As in :class:`PixelConversion`.
    """
    same = PixelFormat()
    if student is teacher:
        return PixelConversion(same, same)
    formats = [read_pixel_format(preprocessor) for preprocessor in (student, teacher)]
    if None in formats:
        if not _has_equal_state(student, teacher):
            unknown = (student, teacher)[formats.index(None)]
            print_log(
                f"The teacher receives the pixels of the student's data_preprocessor, a {type(student).__name__}, without a conversion to "
                f'those of its own, a {type(teacher).__name__}, since the normalization of {type(unknown).__name__} is unknown: use one '
                'data_preprocessor for both networks.',
                logger='current',
                level=logging.WARNING,
            )
        return PixelConversion(same, same)
    conversion = PixelConversion(*formats)  # type: ignore[arg-type]  # none of them is None here
    if not conversion.is_identity:
        print_log(
            f"The teacher receives the student's pixels converted to those of its own data_preprocessor: {conversion}.",
            logger='current',
        )
    return conversion


def _has_equal_state(student: Any, teacher: Any) -> bool:
    """Return whether two preprocessors of one type have the same buffers and the same plain attributes."""

    def plain(preprocessor: Any) -> dict[str, Any]:
        values = (str, bool, int, float, tuple, list, type(None))
        return {name: value for name, value in vars(preprocessor).items() if isinstance(value, values)}

    if type(student) is not type(teacher) or plain(student) != plain(teacher):
        return False
    buffers = [dict(preprocessor.named_buffers()) for preprocessor in (student, teacher)]
    return buffers[0].keys() == buffers[1].keys() and all(
        torch.equal(buffers[0][name], buffers[1][name]) for name in buffers[0]
    )
