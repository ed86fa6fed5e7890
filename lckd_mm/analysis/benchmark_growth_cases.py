"""The sizes of the benchmark of growth: one quantity varies, the others keep the value of a base case."""

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Case:
    """The maps of student and teacher, all of the same size.

    Attributes:
        images: Number of images B.
        side: Height and width of all maps.
        taps: Number of taps of each network.
        channels: Number of channels of all maps, C1 = C2.
    """

    images: int
    side: int
    taps: int
    channels: int


@dataclass(frozen=True)
class Grid:
    """A base case, and the values that each quantity takes in its place.

    Attributes:
        base: The base case.
        values: For each attribute of a case, its values.
    """

    base: Case
    values: dict[str, tuple[int, ...]]

    def cases(self) -> list[tuple[str, Case]]:
        """Return all cases, each with the key of the quantity that varies.

        Example:
            >>> Grid(Case(2, 8, 3, 16), dict(images=(1, 4))).cases()[0]
            ('images', Case(images=1, side=8, taps=3, channels=16))
        """
        return [(key, replace(self.base, **{key: value})) for key, values in self.values.items() for value in values]


# Sizes in which time and memory of the spectral norm should be linear: B N (C1 + C2) for each of the pairs of taps.
QUANTITIES: dict[str, tuple[str, Callable[[Case], int]]] = {
    'images': ('images B', lambda case: case.images),
    'side': ('positions N', lambda case: case.side**2),
    'taps': ('pairs of taps', lambda case: case.taps - 1),
    'channels': ('channels C1 = C2', lambda case: case.channels),
}

# Steps of about sqrt(2) in each size. The largest maps are below 32 MB, above which glibc returns memory to the system at each call.
GRIDS = {
    'cpu': Grid(
        Case(images=16, side=28, taps=3, channels=128),
        dict(
            images=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64),
            side=(5, 7, 10, 14, 17, 20, 24, 28, 34, 40, 48, 56),
            taps=tuple(range(2, 10)),
            channels=(8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512),
        ),
    ),
    # A GPU needs larger maps until its time exceeds that of the calls.
    'cuda': Grid(
        Case(images=64, side=28, taps=3, channels=256),
        dict(
            images=(8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512),
            side=(10, 14, 17, 20, 24, 28, 34, 40, 48, 56, 68, 80),
            taps=tuple(range(2, 10)),
            channels=(32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048),
        ),
    ),
    'quick': Grid(
        Case(images=2, side=6, taps=3, channels=8),
        dict(images=(1, 2, 4, 8), side=(4, 6, 8, 12), taps=(2, 3, 4, 5), channels=(4, 8, 16, 32)),
    ),
}
