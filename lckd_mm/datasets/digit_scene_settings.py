from dataclasses import dataclass

from lckd_mm.errors import ConfigValueError, unknown_name

SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class DigitSceneSettings:
    """The options of the demonstration set, which determine its bytes.

    Args:
        seed (int): Random seed. Each image has its own generator, so that additional images of one split change no other
            image. Defaults to 0.
        num_train (int): Number of training images. Defaults to 480.
        num_val (int): Number of validation images. Defaults to 120.
        num_test (int): Number of test images. Defaults to 120.
        image_size (int): Height and width of the images, in pixels. Defaults to 160.
        min_digits (int): Minimum number of digits drawn for an image. Defaults to 4.
        max_digits (int): Maximum number of digits drawn for an image. A crowded image contains fewer digits than were drawn,
            but at least one. Defaults to 10.
        min_height (int): Minimum height of the frame of a digit, in pixels. The strokes fill most of it. Defaults to 24.
        max_height (int): Maximum height of the frame of a digit, in pixels. Defaults to 44.

    Raises:
        ConfigValueError: A number is out of range.

    Example:
        >>> DigitSceneSettings(num_val=8).num_images('val')
        8
    """

    seed: int = 0
    num_train: int = 480
    num_val: int = 120
    num_test: int = 120
    image_size: int = 160
    min_digits: int = 4
    max_digits: int = 10
    min_height: int = 24
    max_height: int = 44

    def __post_init__(self) -> None:
        """Reject numbers that are out of range."""
        if self.seed < 0:
            raise ConfigValueError(f'seed={self.seed} is negative: use 0 or more.')
        for name in ('num_train', 'num_val', 'num_test', 'min_digits'):
            if getattr(self, name) < 1:
                raise ConfigValueError(f'{name}={getattr(self, name)} is not positive: use 1 or more.')
        if self.max_digits < self.min_digits:
            raise ConfigValueError(
                f'max_digits={self.max_digits} is less than min_digits={self.min_digits}: use at least that.'
            )
        if not 8 <= self.min_height <= self.max_height:
            raise ConfigValueError(
                f'min_height={self.min_height} and max_height={self.max_height} are invalid: '
                'use 8 <= min_height <= max_height.'
            )
        if self.image_size < 2 * self.max_height:
            raise ConfigValueError(
                f'image_size={self.image_size} is less than twice max_height={self.max_height}: '
                f'use at least {2 * self.max_height}.'
            )

    def num_images(self, split: str) -> int:
        """Return the number of images of a split.

        Args:
            split (str): ``'train'``, ``'val'`` or ``'test'``.

        Returns:
            int: Its number of images.

        Raises:
            ConfigValueError: The split is unknown.
        """
        counts = dict(train=self.num_train, val=self.num_val, test=self.num_test)
        if split not in counts:
            raise ConfigValueError(unknown_name('split', split, SPLITS))
        return counts[split]
