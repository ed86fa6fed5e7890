import torch
import torch.nn as nn
import torch.nn.functional as F
from mmrazor.registry import MODELS
from torch import Tensor

from lckd_mm.errors import ConfigValueError, check_number


@MODELS.register_module()
class DecoupledLoss(nn.Module):
    """DKD: divergences of the probability of the target class and of the other classes among themselves, with separate weights.

    MMRazor's ``DKDLoss`` adds up the losses of the images whatever its ``reduction`` is, so that its strength grows with the batch, and is
    NaN once a probability underflows. This class computes with logarithms, and averages over the images as the authors' code does.

    Args:
        tau (float): Temperature. Defaults to 1.0.
        alpha (float): Weight of the target class. Defaults to 1.0.
        beta (float): Weight of the other classes. Defaults to 1.0.
        loss_weight (float): Factor of the sum. Defaults to 1.0.

    Shape:
        - preds_S: (B, C), class scores of the student.
        - preds_T: (B, C), class scores of the teacher.
        - gt_labels: (B,), integers.
        - Output: scalar.

    Raises:
        ConfigValueError: ``tau`` is not positive, a weight is negative, the networks have different numbers of classes, or an image has
            scores of several places or a mixed label.

    Source:
        arXiv 2203.08679, equations 6 and 7; the factor ``tau**2`` is that of the authors' code.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[2.0, 0.0, 1.0]])
        >>> DecoupledLoss()(scores, scores, torch.tensor([0]))
        tensor(0.)
    """

    def __init__(self, tau: float = 1.0, alpha: float = 1.0, beta: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_number('DecoupledLoss', 'tau', tau, is_open=True)
        for name, value in dict(alpha=alpha, beta=beta, loss_weight=loss_weight).items():
            check_number('DecoupledLoss', name, value)
        self.tau = tau
        self.alpha = alpha
        self.beta = beta
        self.loss_weight = loss_weight

    def forward(self, preds_S: Tensor, preds_T: Tensor, gt_labels: Tensor) -> Tensor:  # noqa: N803  (MMRazor's names)
        """Compute the loss of a batch."""
        if preds_S.shape != preds_T.shape:
            raise ConfigValueError(f'DecoupledLoss: {different_classes(preds_S, preds_T)}')
        is_index = not gt_labels.is_floating_point() and gt_labels.numel() == len(preds_S)
        if preds_S.dim() != 2 or not is_index:
            raise ConfigValueError(
                f'DecoupledLoss reads class scores (B, C) and one class per image, but the scores are {tuple(preds_S.shape)} and the '
                f'labels {tuple(gt_labels.shape)}, {gt_labels.dtype}: remove transforms that mix images, such as Mixup and CutMix, or use '
                'another loss: kd, dist, or cwd for a segmentor.'
            )
        target = gt_labels.reshape(-1, 1)
        (binary, others), (teacher_binary, teacher_others) = (
            _split(scores.to(torch.promote_types(scores.dtype, torch.float32)) / self.tau, target)
            for scores in (preds_S, preds_T.detach())
        )
        divergences = [
            F.kl_div(student, teacher, reduction='batchmean', log_target=True)
            for student, teacher in ((binary, teacher_binary), (others, teacher_others))
        ]
        return self.loss_weight * self.tau**2 * (self.alpha * divergences[0] + self.beta * divergences[1])


def different_classes(student: Tensor, teacher: Tensor) -> str:
    """Return the sentence on class scores of different shapes."""
    return (
        f'the student has class scores of the shape {tuple(student.shape)} and the teacher {tuple(teacher.shape)}: give both models the '
        'same `num_classes`, or remove the loss.'
    )


def _split(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the probabilities of (target, all others), (B, 2), and of the others among themselves, (B, C - 1)."""
    is_other = scores.new_ones(scores.shape, dtype=torch.bool).scatter(1, target, value=False)
    others = scores[is_other].view(len(scores), -1)
    total = others.logsumexp(1)
    odds = scores.gather(1, target)[:, 0] - total
    binary = [F.logsigmoid(odds), F.logsigmoid(-odds)]
    return torch.stack(binary, 1), others.log_softmax(1)
