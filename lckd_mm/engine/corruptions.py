"""The corruptions of ImageNet-C (Hendrycks and Dietterich, ICLR 2019) by name and severity."""

from collections.abc import Sequence

from lckd_mm.errors import ConfigValueError, unknown_name

CORRUPTIONS = (
    'gaussian_noise', 'shot_noise', 'impulse_noise', 'defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur', 'snow', 'frost', 'fog',
    'brightness', 'contrast', 'elastic_transform', 'pixelate', 'jpeg_compression', 'speckle_noise', 'gaussian_blur', 'spatter',
    'saturate',
)  # fmt: skip
"""The names in imagecorruptions: the 15 corruptions of the benchmark, then four for validation."""

UNCORRUPTED = 'none'
"""The name of the images as they are."""

SEVERITIES = (1, 2, 3, 4, 5)

# All of the benchmark but glass_blur. Measured CPU time per image, mean of severities 1, 3 and 5, at 32 x 32, 240 x 180 and 320 x 240
# pixels: glass_blur, a loop over the pixels in Python, 33, 1133 and 1914 ms; the other 14 together 10, 142 and 260 ms.
DEFAULT_CORRUPTIONS = tuple(name for name in CORRUPTIONS[:15] if name != 'glass_blur')

# The weakest, the middle and the strongest one.
DEFAULT_SEVERITIES = (1, 3, 5)


def parse_corruptions(texts: Sequence[str]) -> list[tuple[str, int]]:
    """Parse corruptions with their severities.

    Args:
        texts (Sequence[str]): ``'NAME:SEVERITY'``, or ``'NAME'`` for the severities 1, 3 and 5. None at all stand for 14 of the 15
            corruptions of the benchmark; ``'none'`` adds no corruption.

    Returns:
        list[tuple[str, int]]: Names and severities, each pair once.

    Raises:
        ConfigValueError: A name or a severity is unknown.

    Example:
        >>> parse_corruptions(['fog', 'snow:2', 'fog:1'])
        [('fog', 1), ('fog', 3), ('fog', 5), ('snow', 2)]
        >>> len(parse_corruptions([])), parse_corruptions(['none'])
        (42, [])
    """
    pairs = []
    for text in texts or DEFAULT_CORRUPTIONS:
        if text == UNCORRUPTED:
            continue
        name, colon, number = text.partition(':')
        if name not in CORRUPTIONS:
            raise ConfigValueError(unknown_name('corruption', name, CORRUPTIONS, max_listed=len(CORRUPTIONS)))
        if colon and number not in map(str, SEVERITIES):
            raise ConfigValueError(
                f'in corruption {text!r}, severity {number!r} is not an integer from 1 to 5: correct it.'
            )
        pairs += [(name, severity) for severity in ((int(number),) if colon else DEFAULT_SEVERITIES)]
    return list(dict.fromkeys(pairs))
