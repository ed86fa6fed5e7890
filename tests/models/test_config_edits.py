"""Random edits of the config of a distillation: it trains a step that reaches the student, or ends with a configuration error."""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from lckd_mm.cli.memory_format import to_channels_last
from lckd_mm.errors import ConfigError
from tests.helpers.properties import examples
from tests.helpers.small_classifiers import TAPS, build_distillation, classification_batch, classifier

TAP_NAMES = (
    *TAPS, 'backbone.layer1.0', 'backbone.conv1', 'backbone.bn1', 'backbone', 'neck', 'head', 'head.fc', 'logits', 'backbone.layer9', '',
    None, 3, dict(source='backbone.layer2'), dict(source='backbone.layer2', pre_activation=True), ('backbone.layer1', 'backbone.layer2'),
)  # fmt: skip
LOSSES = ('lipschitz', 'ofd', 'kd', 'dkd', 'dist', 'pkd', 'cwd', 'at', 'mgd', 'fitnet', 'rkd', 'lipshitz', None)
LOSS_OPTIONS: dict[str, tuple[Any, ...]] = dict(
    loss_weight=(1.0, 0, -1, 1e6, '1', None, float('nan'), [1.0]),
    name=('mine', 'student', '', 3),
    taps=(TAPS[:2], TAPS[3:], [], 'logits', ['neck'], ['backbone.layer9']),
    distance=('mse', 'relative', 'log', 'mae'),
    num_iters=(1, 5, 0, '5'),
    method=('lanczos', 'power', 'svd', 'qr'),
    adapt=(True, False, 'yes'),
    tau=(1.0, 4, 0, -2),
    unknown=(1,),
)
MODEL_OPTIONS: dict[str, tuple[Any, ...]] = dict(
    calculate_student_loss=(True, False),
    allow_random_teacher=(True, False),
    teacher_trainable=(True, False),
    teacher_norm_eval=(True, False),
    teacher_ckpt=('nowhere.pth', 3),
    stop_teacher=(True, False),
)

Edit = Callable[[dict[str, Any], dict[str, Any]], None]


def _set(target: str, key: str, value: Any) -> Edit:
    def edit(distiller: dict[str, Any], options: dict[str, Any]) -> None:
        (distiller if target == 'distiller' else options)[key] = value

    return edit


@st.composite
def losses(draw: Any) -> Any:
    kind = draw(st.sampled_from(LOSSES))
    if kind is None or draw(st.booleans()):
        return kind
    names = draw(st.lists(st.sampled_from(sorted(LOSS_OPTIONS)), max_size=2, unique=True))
    return dict(type=kind, **{name: draw(st.sampled_from(LOSS_OPTIONS[name])) for name in names})


@st.composite
def edits(draw: Any) -> Edit:
    """Generate a change to one option."""
    kind = draw(st.sampled_from(['taps', 'losses', 'losses', 'model', 'student', 'teacher', 'frozen']))
    if kind == 'taps':
        taps = draw(st.lists(st.sampled_from(TAP_NAMES), max_size=5))
        return _set(
            'distiller', 'taps', draw(st.sampled_from([taps, 'logits', {'backbone.layer1': 'backbone.layer2'}]))
        )
    if kind == 'losses':
        chosen = draw(st.lists(losses(), max_size=3))
        return _set('distiller', 'losses', draw(st.sampled_from([chosen, chosen, {'lipschitz': {}}, 'kd'])))
    if kind == 'model':
        name = draw(st.sampled_from(sorted(MODEL_OPTIONS)))
        return _set('model', name, draw(st.sampled_from(MODEL_OPTIONS[name])))
    side = 'architecture' if kind in ('student', 'frozen') else 'teacher'
    model = classifier(
        draw(st.sampled_from([18, 34, 50])), draw(st.sampled_from([4, 6])), draw(st.sampled_from([3, 3, 3, 5]))
    )
    if kind == 'frozen':
        model['backbone']['frozen_stages'] = draw(st.integers(0, 4))
    model['backbone']['with_cp'] = draw(st.booleans())
    return _set('model', side, model)


@examples(25, 600)
@given(
    st.lists(edits(), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(['float32', 'bfloat16']),
)
def test_edited_distillation_trains_the_student_or_is_refused(
    changes: list[Edit], channels_last: bool, precision: str
) -> None:
    distiller: dict[str, Any] = dict(type='LipschitzDistiller', taps=TAPS, losses=['lipschitz'])
    options: dict[str, Any] = {}
    for change in changes:
        change(distiller, options)
    try:
        gradients = _step(distiller, options, channels_last, precision)
    except ConfigError as error:
        message = str(error)
        assert message
        assert '\n' not in message.strip()
        return
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


def _step(
    distiller: dict[str, Any], options: dict[str, Any], channels_last: bool, precision: str
) -> list[torch.Tensor]:
    """Train one step, and return the gradients of the student's parameters."""
    model = build_distillation(distiller, **options)
    model.init_weights()
    if channels_last:
        to_channels_last(model)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=1e-4)
    wrapper = (
        OptimWrapper(optimizer) if precision == 'float32' else AmpOptimWrapper(optimizer=optimizer, dtype=precision)
    )
    model.train()
    images, samples = classification_batch()
    with wrapper.optim_context(model):
        losses = model(images[:, :, :32, :32], samples, mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    return [parameter.grad for parameter in model.student.parameters() if parameter.grad is not None]
