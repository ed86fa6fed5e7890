from .digit_scenes import CLASSES, DigitSceneMaker, DigitSceneSettings, make_digit_scenes

__all__ = ['CLASSES', 'DigitSceneMaker', 'DigitSceneSettings', 'make_digit_scenes']
