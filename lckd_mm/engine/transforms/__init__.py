from .corrupt_image import CorruptImage

__all__ = ['CorruptImage']
