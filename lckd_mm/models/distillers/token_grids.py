"""Height and width of token maps, derived from the size of the images."""

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from lckd_mm.spectral import Grid

Size = tuple[int, int]


# A class token and the four registers of DINOv2.
_MAX_PREFIX = 5


class _Rule(NamedTuple):
    """A way in which the number of tokens may depend on the size of the image.

    Attributes:
        stride: Pixels per token along each axis.
        rounds_up: Whether an incomplete patch at the border is a token, as after a padding of the image.
        num_prefix: Number of leading tokens without a place in the grid.
    """

    stride: int
    rounds_up: bool
    num_prefix: int

    def grid(self, image_size: Size) -> Grid:
        height, width = _grid_size(self.stride, self.rounds_up, image_size)
        return Grid(height, width, self.num_prefix)


def _grid_size(stride: int, rounds_up: bool, image_size: Size) -> Size:
    height, width = ((length + (stride - 1 if rounds_up else 0)) // stride for length in image_size)
    return height, width


class TokenGrids:
    """The grids of the token maps of a network.

    A probe counts the tokens of each map for images of different sizes and aspect ratios. Every rule that explains all counts
    is kept: a stride, a rounding, and a number of tokens without a place in the grid. For a batch, the rules that yield its
    number of tokens determine the grid. Two of them with different grids, or none, leave it undetermined; nothing is guessed.

    With a known rounding and number of tokens without a place, the number of tokens alone determines the grid: a larger stride
    makes no axis longer, so two strides with equal numbers of tokens have equal grids.

    Example:
        >>> grids = TokenGrids()
        >>> for size, num_tokens in (((64, 64), 17), ((64, 96), 25), ((65, 63), 21)):
        ...     grids.observe('tap', num_tokens, size)
        >>> grids.find('tap', 37, (64, 144))
        Grid(height=4, width=9, num_prefix=1)
    """

    def __init__(self) -> None:
        self._rules: dict[Hashable, list[_Rule]] = {}

    def observe(self, key: Hashable, num_tokens: int, image_size: Size) -> None:
        """Keep the rules of a map that explain its number of tokens for an image of (H, W) pixels."""
        if key not in self._rules:
            self._rules[key] = [
                _Rule(stride, rounds_up, num_tokens - height * width)
                for stride in range(1, max(image_size) + 1)
                for rounds_up in (False, True)
                for height, width in [_grid_size(stride, rounds_up, image_size)]
                if 0 < height * width <= num_tokens
            ]
        self._rules[key] = self._matching(key, num_tokens, image_size)

    def forget(self, key: Hashable) -> None:
        """Remove all rules of a map that has no grid."""
        self._rules[key] = []

    def prefer(self, sizes: Iterable[Size], image_size: Size) -> None:
        """Keep, where the counts leave several grids, those that other maps of the same forward pass have.

        A model that takes one image size only has one count. Its tokens were flattened from a map of the same pass. A grid with
        more tokens outside of it than inside belongs to another map.

        Args:
            sizes (Iterable[tuple[int, int]]): Height and width of all maps (B, C, H, W) of the pass.
            image_size (tuple[int, int]): Height and width of its image in pixels.
        """
        sizes = set(sizes)
        for key, rules in self._rules.items():
            grids = {rule: rule.grid(image_size) for rule in rules}
            if len(set(grids.values())) > 1:
                fitting = [
                    rule
                    for rule, grid in grids.items()
                    if grid.size in sizes and rule.num_prefix < grid.height * grid.width
                ]
                self._rules[key] = fitting or rules

    def find(self, key: Hashable, num_tokens: int, image_size: Size | None) -> Grid | None:
        """Return the grid of a map of ``num_tokens`` tokens for images of (H, W) pixels; None if it is not determined."""
        if image_size is None:
            return None
        grids = {rule.grid(image_size) for rule in self._matching(key, num_tokens, image_size)}
        return grids.pop() if len(grids) == 1 else None

    def find_likely(self, key: Hashable, num_tokens: int, image_size: Size) -> Grid | None:
        """Return the grid with the fewest tokens outside of it, if they are as few as those of known networks; None otherwise.

        For suggestions only. A model that takes one image size and has no map (B, C, H, W) of the grid leaves it undetermined.

        Example:
            >>> grids = TokenGrids()
            >>> grids.observe('tap', 197, (224, 224))
            >>> grids.find('tap', 197, (224, 224)), grids.find_likely('tap', 197, (224, 224))
            (None, Grid(height=14, width=14, num_prefix=1))
        """
        rules = self._matching(key, num_tokens, image_size)
        likely = min((rule.grid(image_size) for rule in rules), key=lambda grid: grid.num_prefix, default=None)
        return likely if likely is not None and likely.num_prefix <= _MAX_PREFIX else None

    def _matching(self, key: Hashable, num_tokens: int, image_size: Size) -> list[_Rule]:
        rules = self._rules.get(key, ())
        return [
            rule
            for rule in rules
            if min(rule.grid(image_size).size) > 0 and rule.grid(image_size).num_positions == num_tokens
        ]
