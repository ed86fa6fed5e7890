"""The models whose training steps are compared: a student alone, with LCKD, and with methods of MMRazor."""

import copy
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData
from mmpretrain.structures import DataSample
from mmrazor.registry import MODELS
from torch import Tensor, nn

from lckd_mm.models.utils import build_model

STAGES = ('layer1', 'layer2', 'layer3', 'layer4')
TAPS = [f'backbone.{stage}' for stage in STAGES]
PAIRS = {
    'faster_rcnn': 'Faster R-CNN FPN, R50 teaches R18',
    'classifier': 'ImageNet classifier, R50 teaches R18',
}
CHEAPEST = 'LCKD, cheapest teacher'
# Forward passes of the teacher in the model CHEAPEST.
TEACHER_STEPS = {'teacher alone, whole', 'teacher alone, cheapest'}
STEPS = (
    'student alone',
    'teacher forward',
    'LCKD, no adapters',
    'LCKD',
    'PKD',
    'LCKD with PKD',
    'MMRazor, same losses',
    'MMRazor PKD',
    'MMRazor OFD',
    CHEAPEST,
    'teacher alone, whole',
    'teacher alone, cheapest',
)
# What each part of a step costs: the ratio of two steps that differ in nothing else.
RATIOS = {
    ('teacher forward', 'student alone'): "the teacher's forward pass",
    ('LCKD, no adapters', 'teacher forward'): 'the Lipschitz loss on raw taps',
    ('LCKD', 'LCKD, no adapters'): 'the adapters, and the gradients through them',
    ('LCKD with PKD', 'PKD'): 'the Lipschitz loss beside PKD, which uses the same adapters',
    (CHEAPEST, 'LCKD'): "the exact modes of the teacher's execution",
    (
        'teacher alone, cheapest',
        'teacher alone, whole',
    ): 'the teacher to its last tap in these modes, against all of it without a gradient',
    ('LCKD', 'MMRazor, same losses'): "this implementation against MMRazor's algorithm",
}
Batch = tuple[Tensor, list[BaseDataElement]]
Config = dict[str, Any]


def make_models(pair: str) -> tuple[BaseModel, BaseModel]:
    """Build student and teacher with random weights; the scales of the BNs are as after a training.

    Args:
        pair (str): A key of ``PAIRS``.

    Returns:
        tuple[BaseModel, BaseModel]: Student and teacher.
    """
    if pair == 'faster_rcnn':
        options = {'backbone.init_cfg': None, 'roi_head.bbox_head.num_classes': 20}
        student_options = {**options, 'backbone.depth': 18, 'neck.in_channels': [64, 128, 256, 512]}
        path = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
        configs = [dict(cfg_path=path, cfg_options=overrides) for overrides in (student_options, options)]
    else:
        configs = [dict(cfg_path=f'mmpretrain::resnet/resnet{depth}_8xb32_in1k.py') for depth in (18, 50)]
    student, teacher = build_model(configs[0]), build_model(configs[1])
    for model in (student, teacher):
        model.init_weights()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.2, 1.5)
    return student, teacher


def make_classification_batch(num_images: int, device: str) -> Batch:
    """Make random images of 224 x 224 pixels with random labels.

    Args:
        num_images (int): Number of images.
        device (str): Their device.

    Returns:
        Batch: Images and annotations.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(num_images, 3, 224, 224, generator=generator)
    labels = torch.randint(1000, (num_images,), generator=generator)
    return images.to(device), [DataSample().set_gt_label(label).to(device) for label in labels]


def make_detection_batch(size: Sequence[int], device: str, num_images: int = 2) -> Batch:
    """Make random images with eight random boxes each.

    Args:
        size (Sequence[int]): Height and width of the images in pixels.
        device (str): Their device.
        num_images (int): Number of images. Defaults to 2.

    Returns:
        Batch: Images and annotations.
    """
    generator = torch.Generator().manual_seed(0)
    height, width = shape = tuple(size)
    samples = []
    for _ in range(num_images):
        corner = torch.rand(8, 2, generator=generator) * torch.tensor([width * 0.7, height * 0.7])
        boxes = torch.cat([corner, corner + torch.tensor([width * 0.25, height * 0.25])], 1)
        instances = InstanceData(bboxes=boxes, labels=torch.randint(20, (8,), generator=generator))
        metainfo = dict(img_shape=shape, pad_shape=shape, ori_shape=shape, scale_factor=(1, 1), batch_input_shape=shape)
        samples.append(DetDataSample(gt_instances=instances, metainfo=metainfo).to(device))
    return torch.randn(num_images, 3, height, width, generator=generator).to(device), samples


def make_contenders(
    pair: str, student: BaseModel, teacher: BaseModel, steps: Collection[str] = STEPS
) -> dict[str, BaseModel]:
    """Make the models that are compared, each with a copy of the same networks.

    Args:
        pair (str): A key of ``PAIRS``.
        student (BaseModel): The student.
        teacher (BaseModel): The teacher.
        steps (Collection[str]): The steps that are measured; other models are not made. Defaults to all.

    Returns:
        dict[str, BaseModel]: One model for each of ``steps``. The model of the teacher alone is ``'LCKD, cheapest teacher'``.
    """

    def lckd(**options: Any) -> BaseModel:
        return _distill_with_lckd(lckd_distiller(**options), student, teacher)

    def same_algorithm(distiller: Config) -> BaseModel:
        return _distill('SingleTeacherDistill', distiller, student, teacher)

    makers: dict[str, Callable[[], BaseModel]] = {
        'student alone': lambda: copy.deepcopy(student),
        'teacher forward': lambda: _without_loss(lckd(adapters=False)),
        'LCKD, no adapters': lambda: lckd(adapters=False),
        'LCKD': lckd,
        'PKD': lambda: lckd(losses=['pkd']),
        'LCKD with PKD': lambda: lckd(losses=['pkd', 'lipschitz']),
        'MMRazor, same losses': lambda: same_algorithm(lckd_distiller()),
        'MMRazor PKD': lambda: same_algorithm(pkd_distiller(pair, student, teacher)),
        'MMRazor OFD': lambda: _distill(
            'OverhaulFeatureDistillation', ofd_distiller(student, teacher), student, teacher
        ),
        CHEAPEST: lambda: _distill_with_lckd(
            lckd_distiller(), student, teacher, teacher_execution=dict(fold_bn=True, channels_last=True)
        ),
    }
    needed = {*steps, *([CHEAPEST] if TEACHER_STEPS & set(steps) else [])}
    return {name: make() for name, make in makers.items() if name in needed}


def _distill(algorithm: str, distiller: Config, student: BaseModel, teacher: BaseModel, **options: Any) -> BaseModel:
    networks = dict(architecture=copy.deepcopy(student), teacher=copy.deepcopy(teacher))
    return MODELS.build(dict(type=algorithm, distiller=distiller, **networks, **options))


def _distill_with_lckd(distiller: Config, student: BaseModel, teacher: BaseModel, **options: Any) -> BaseModel:
    model = _distill('LipschitzDistill', distiller, student, teacher, allow_random_teacher=True, **options)
    # Draws new weights for both networks; training steps are refused without it.
    model.init_weights()
    model.student.load_state_dict(student.state_dict())
    model.teacher.load_state_dict(teacher.state_dict())
    return model


def _without_loss(model: BaseModel) -> BaseModel:
    """Replace the computation of the distillation losses by a removal of the records."""

    def compute_distill_losses(*_: Any) -> dict[str, Tensor]:
        for taps in model.distiller.network_taps.values():
            taps.clear()
        return {}

    model.distiller.compute_distill_losses = compute_distill_losses
    return model


def lckd_distiller(**options: Any) -> Config:
    """Return the config of the distiller of LCKD on the four stages.

    Args:
        **options: Further options of :class:`LipschitzDistiller`.

    Returns:
        dict: The config.

    Example:
        >>> lckd_distiller(adapters=False)['losses']
        ['lipschitz']
    """
    return dict(dict(type='LipschitzDistiller', taps=TAPS, losses=['lipschitz']), **options)


def pkd_distiller(pair: str, student: nn.Module, teacher: nn.Module) -> Config:
    """Return the config of MMRazor's PKD.

    Args:
        pair (str): A key of ``PAIRS``: a detector uses four levels of the FPN, as in MMRazor's configs; a classifier uses the last
            stage with a connector.
        student (nn.Module): The student.
        teacher (nn.Module): The teacher.

    Returns:
        dict: The config.
    """
    if pair == 'faster_rcnn':
        recorders = dict(fpn=dict(type='ModuleOutputs', source='neck'))
        records: list[Config] = [dict(recorder='fpn', data_idx=level) for level in range(4)]
        connectors: dict[str, Config] = {}
        student_options: Config = {}
    else:
        recorders = dict(last=dict(type='ModuleOutputs', source=TAPS[-1]))
        records = [dict(recorder='last')]
        in_channel, out_channel = (_tap_channels(network)[-1] for network in (student, teacher))
        connector = dict(type='ConvModuleConnector', in_channel=in_channel, out_channel=out_channel, act_cfg=None)
        connectors, student_options = dict(adapt=connector), dict(connector='adapt')
    losses = {f'loss_{i}': dict(type='PKDLoss', loss_weight=6) for i in range(len(records))}
    mappings = {
        name: dict(
            preds_S=dict(from_student=True, **record, **student_options), preds_T=dict(from_student=False, **record)
        )
        for name, record in zip(losses, records, strict=True)
    }
    return _configurable_distiller('ConfigurableDistiller', recorders, recorders, connectors, losses, mappings)


def ofd_distiller(student: nn.Module, teacher: nn.Module) -> Config:
    """Return the config of MMRazor's OFD on the last BN of each stage.

    Args:
        student (nn.Module): The student.
        teacher (nn.Module): The teacher.

    Returns:
        dict: The config.
    """
    connectors, mappings = {}, {}
    for stage, in_channel, out_channel in zip(STAGES, _tap_channels(student), _tap_channels(teacher), strict=True):
        channels = dict(in_channel=in_channel, out_channel=out_channel)
        connectors[f's_{stage}'] = dict(type='ConvModuleConnector', norm_cfg=dict(type='BN'), act_cfg=None, **channels)
        connectors[f't_{stage}'] = dict(type='OFDTeacherConnector')
        mappings[f'loss_{stage}'] = dict(
            s_feature=dict(from_student=True, recorder=stage, connector=f's_{stage}'),
            t_feature=dict(from_student=False, recorder=stage, connector=f't_{stage}'),
        )
    losses = {name: dict(type='OFDLoss', loss_weight=1e-3) for name in mappings}
    recorders = [
        {stage: dict(type='ModuleOutputs', source=_last_bn(network, stage)[0]) for stage in STAGES}
        for network in (student, teacher)
    ]
    return _configurable_distiller('OFDDistiller', recorders[0], recorders[1], connectors, losses, mappings)


def _configurable_distiller(
    kind: str,
    student_recorders: Config,
    teacher_recorders: Config,
    connectors: Config,
    losses: Config,
    mappings: Config,
) -> Config:
    return dict(
        type=kind,
        student_recorders=student_recorders,
        teacher_recorders=teacher_recorders,
        connectors=connectors,
        distill_losses=losses,
        loss_forward_mappings=mappings,
    )


def _tap_channels(model: nn.Module) -> list[int]:
    return [_last_bn(model, stage)[1].num_features for stage in STAGES]


def _last_bn(model: nn.Module, stage: str) -> tuple[str, nn.BatchNorm2d]:
    """Return the name and the module of the last BN of a stage's last block; that of the shortcut is not a child of the block."""
    blocks = model.get_submodule(f'backbone.{stage}')
    last = f'backbone.{stage}.{sum(1 for _ in blocks.children()) - 1}'
    children = model.get_submodule(last).named_children()
    name, module = [(name, child) for name, child in children if isinstance(child, nn.BatchNorm2d)][-1]
    return f'{last}.{name}', module
