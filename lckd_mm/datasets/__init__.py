from .digit_masks import DigitMasks
from .digit_scenes import CLASSES, DigitSceneMaker, DigitSceneSettings, make_digit_scenes

__all__ = ['CLASSES', 'DigitMasks', 'DigitSceneMaker', 'DigitSceneSettings', 'make_digit_scenes']
