"""Products with a transmitting matrix that is never formed."""

from torch import Tensor


class TransmittingOperator:
    r"""The linear map :math:`T = F_1 F_2^\top / N` of each image, given by its two factors.

    A product costs N (C1 + C2) multiplications instead of the N C1 C2 of forming T.

    Args:
        f1 (Tensor): (B, C1, N).
        f2 (Tensor): (B, C2, N).
    """

    def __init__(self, f1: Tensor, f2: Tensor) -> None:
        self.f1, self.f2 = f1, f2
        self.n_positions = f1.shape[2]

    def __call__(self, v: Tensor) -> Tensor:
        """T v: (B, C2) to (B, C1)."""
        return self._through(self.f2, self.f1, v)

    def transposed(self, u: Tensor) -> Tensor:
        """T^T u: (B, C1) to (B, C2)."""
        return self._through(self.f1, self.f2, u)

    def _through(self, source: Tensor, target: Tensor, vector: Tensor) -> Tensor:
        positions = source.transpose(1, 2) @ vector.unsqueeze(2)
        return (target @ positions).squeeze(2) / self.n_positions
