"""``normalize=True`` of the preset ``cwd`` is the loss of mmyolo's configs/rtmdet/distillation."""

import pytest

from tests.helpers.small_classifiers import TAPS, build_distillation, classification_batch, classifier, train_step


def _distillation_loss(distiller: dict) -> float:
    # Equal networks: mmyolo's convolutions to the teacher's channels would have other initial weights than the adapters.
    model = build_distillation(distiller, teacher=classifier())
    model.init_weights()
    losses = train_step(model, classification_batch())
    return sum(value.item() for name, value in losses.items() if name.startswith('distill.'))


def test_normalized_cwd_equals_mmyolos_config() -> None:
    norm = dict(type='BN', affine=False, track_running_stats=False)
    recorders = {f'stage{i}': dict(type='PreActivation', source=tap) for i, tap in enumerate(TAPS)}
    written = dict(
        type='ConfigurableDistiller',
        student_recorders=recorders,
        teacher_recorders=recorders,
        connectors={
            f'stage{i}_{side}': dict(type='NormConnector', in_channels=4 * 2**i, norm_cfg=norm)
            for i in range(4)
            for side in 'ST'
        },
        distill_losses={f'loss_{stage}': dict(type='ChannelWiseDivergence', loss_weight=1) for stage in recorders},
        loss_forward_mappings={
            f'loss_{stage}': {
                f'preds_{side}': dict(recorder=stage, from_student=side == 'S', connector=f'{stage}_{side}')
                for side in 'ST'
            }
            for stage in recorders
        },
    )
    named = dict(type='cwd', normalize=True, loss_weight=1.0)
    loss = _distillation_loss(dict(type='LipschitzDistiller', taps=TAPS, losses=[named]))
    assert loss == pytest.approx(_distillation_loss(written), rel=1e-5)
    plain = dict(named, normalize=False)
    assert loss != pytest.approx(
        _distillation_loss(dict(type='LipschitzDistiller', taps=TAPS, losses=[plain])), rel=0.1
    )
