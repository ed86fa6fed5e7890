"""The bundled demonstration set; importing this package registers :class:`DigitMasks`."""

from .digit_masks import DigitMasks
from .digit_object import CLASSES, DigitObject
from .digit_scene import DigitScene
from .digit_scene_maker import DigitSceneMaker
from .digit_scene_set import make_digit_scenes
from .digit_scene_settings import SPLITS, DigitSceneSettings

__all__ = [
    'CLASSES',
    'SPLITS',
    'DigitMasks',
    'DigitObject',
    'DigitScene',
    'DigitSceneMaker',
    'DigitSceneSettings',
    'make_digit_scenes',
]
