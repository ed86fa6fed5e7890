from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmrazor.registry import METRICS

from lckd_mm.errors import ConfigKeyError, ConfigValueError

# Rounding errors of a softmax in half precision over 1000 classes stay below it.
_SUM_TOLERANCE = 1e-2


@METRICS.register_module()
class Calibration(BaseMetric):
    """Expected calibration error and negative log likelihood of predicted class probabilities.

    The expected calibration error is the mean, over images, of the absolute difference of accuracy and mean confidence in the bin of
    the image, where bins divide the confidence in equal intervals ``((m - 1) / M, m / M]`` (Guo et al., On Calibration of Modern
    Neural Networks, ICML 2017, Eq. 3). It is in percent, the negative log likelihood in nats per image. Both are better if lower.

    Required keys of the predictions: ``pred_score``, probabilities of shape (num_classes,), and ``gt_label``, of shape (1,).

    Args:
        num_bins (int): Number of bins. Defaults to 15, as in Guo et al.
        collect_device (str): As in mmengine. Defaults to 'cpu'.
        prefix (str, optional): As in mmengine. Defaults to None, ``'calibration'``.

    Raises:
        ConfigValueError: ``num_bins`` is not a positive integer.

    Example:
        >>> import torch
        >>> metric = Calibration()
        >>> metric.process({}, [dict(pred_score=torch.tensor([0.75, 0.25]), gt_label=torch.tensor([0]))])
        >>> {name: round(value, 3) for name, value in metric.evaluate(1).items()}
        {'calibration/ece': 25.0, 'calibration/nll': 0.288}
    """

    default_prefix = 'calibration'

    def __init__(self, num_bins: int = 15, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not isinstance(num_bins, int) or isinstance(num_bins, bool) or num_bins < 1:
            raise ConfigValueError(f'num_bins={num_bins!r} is not a number of bins: use a positive integer such as 15.')
        self.num_bins = num_bins

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Store confidence, correctness and log likelihood of each prediction.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): The predictions.

        Raises:
            ConfigKeyError: A prediction has no ``pred_score``, or no single ``gt_label``.
            ConfigValueError: The scores of an image are not probabilities.
        """
        for sample in data_samples:
            if 'pred_score' not in sample or 'gt_label' not in sample or sample['gt_label'].numel() != 1:
                raise ConfigKeyError(
                    f'Calibration needs pred_score and one gt_label per image, but the predictions have {sorted(sample)}: use it with '
                    'classifiers of a single label.'
                )
            scores, label = sample['pred_score'].double().cpu(), int(sample['gt_label'])
            total = float(scores.sum())
            if not (abs(total - 1) <= _SUM_TOLERANCE and float(scores.min()) >= 0):
                raise ConfigValueError(
                    f'the scores of an image, whose sum is {total:.4g}, are not probabilities of its classes: use Calibration with a head '
                    'whose scores are those of a softmax.'
                )
            confidence, prediction = scores.max(0)
            # The probability can underflow to 0 in float32; its smallest positive normal number bounds the logarithm.
            likelihood = max(float(scores[label]), float(np.finfo(np.float32).tiny))
            self.results.append((float(confidence), float(int(prediction) == label), -float(np.log(likelihood))))

    def compute_metrics(self, results: list[tuple[float, float, float]]) -> dict[str, float]:
        """Return both metrics.

        Args:
            results (list[tuple[float, float, float]]): Confidence, correctness and negative log likelihood of each image.

        Returns:
            dict[str, float]: ``ece`` in percent and ``nll``.
        """
        confidences, is_correct, likelihoods = np.asarray(results, dtype=np.float64).T
        bins = np.ceil(confidences * self.num_bins).astype(int)
        # The difference of accuracy and mean confidence, weighted by the share of the bin, is the sum of differences by the number.
        gaps = np.bincount(bins, weights=is_correct - confidences)
        return dict(ece=100 * float(np.abs(gaps).sum()) / len(confidences), nll=float(likelihoods.mean()))
