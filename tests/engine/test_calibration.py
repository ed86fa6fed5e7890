import numpy as np
import pytest
import torch
from mmengine.registry import METRICS as ROOT_METRICS
from mmpretrain.structures import DataSample
from sklearn.metrics import log_loss

from lckd_mm.engine import Calibration
from lckd_mm.errors import ConfigKeyError, ConfigValueError


def evaluate(scores: np.ndarray, labels: np.ndarray, **options: object) -> dict[str, float]:
    metric = Calibration(**options)
    for rows, targets in zip(np.array_split(scores, 3), np.array_split(labels, 3)):
        samples = [DataSample().set_pred_score(torch.tensor(s)).set_gt_label(int(t)) for s, t in zip(rows, targets)]
        metric.process(None, [sample.to_dict() for sample in samples])
    return metric.evaluate(len(labels))


def guo_error(scores: np.ndarray, labels: np.ndarray, num_bins: int) -> float:
    """Equation 3 of Guo et al. as it is written, bin by bin."""
    confidences, predictions = scores.max(1), scores.argmax(1)
    error = 0.0
    for m in range(1, num_bins + 1):
        members = [i for i in range(len(labels)) if (m - 1) / num_bins < confidences[i] <= m / num_bins]
        if members:
            accuracy = np.mean([predictions[i] == labels[i] for i in members])
            error += len(members) / len(labels) * abs(accuracy - np.mean([confidences[i] for i in members]))
    return 100 * error


@pytest.mark.parametrize('num_bins', [1, 15])
def test_both_metrics_agree_with_independent_computations(num_bins: int) -> None:
    generator = np.random.default_rng(0)
    logits = 3 * generator.standard_normal((500, 7))
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([generator.choice(7, p=row**0.5 / (row**0.5).sum()) for row in scores])
    metrics = evaluate(scores, labels, num_bins=num_bins)
    assert metrics['calibration/ece'] == pytest.approx(guo_error(scores, labels, num_bins), abs=1e-9)
    assert metrics['calibration/nll'] == pytest.approx(log_loss(labels, scores, labels=range(7)), abs=1e-9)


def test_a_confidence_at_a_border_belongs_to_the_lower_bin() -> None:
    # Two bins: (0, 0.5] with accuracy 0, and (0.5, 1] with accuracy 1.
    scores, labels = np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]]), np.array([1, 1, 0])
    assert evaluate(scores, labels, num_bins=2)['calibration/ece'] == pytest.approx(100 * (0.5 + 0.5) / 3)


def test_perfect_predictions_have_no_error_and_a_probability_of_zero_is_finite() -> None:
    perfect = evaluate(np.eye(3), np.arange(3))
    assert perfect == {'calibration/ece': 0, 'calibration/nll': 0}
    assert np.isfinite(evaluate(np.eye(3), np.array([1, 2, 0]))['calibration/nll'])


@pytest.mark.parametrize('scores', [[0.9, 0.9], [2.0, -1.0], [np.nan, 1.0]])
def test_scores_that_are_no_probabilities_are_refused(scores: list[float]) -> None:
    with pytest.raises(ConfigValueError, match='are not probabilities'):
        evaluate(np.array([scores] * 3), np.zeros(3))


def test_predictions_without_scores_and_with_several_labels_are_refused() -> None:
    for sample in (
        dict(gt_label=torch.tensor([0])),
        dict(pred_score=torch.ones(1)),
        dict(pred_score=torch.tensor([0.5, 0.5]), gt_label=torch.tensor([0, 1])),
    ):
        with pytest.raises(ConfigKeyError, match='one gt_label per image'):
            Calibration().process(None, [sample])


@pytest.mark.parametrize('num_bins', [0, 1.5, True])
def test_wrong_numbers_of_bins_are_refused(num_bins: object) -> None:
    with pytest.raises(ConfigValueError, match='num_bins'):
        Calibration(num_bins=num_bins)


def test_configs_name_it_with_its_scope() -> None:
    assert ROOT_METRICS.get('mmrazor.Calibration') is Calibration
