from .build import build_model, build_student, build_teacher
from .config_file import merge_options, read_config
from .export import export_student
from .image_size import get_image_size
from .padding import compute_valid_ratios, record_valid_shapes
from .pixels import make_pixel_conversion
from .published import published_checkpoint
from .teacher import initialize_teacher, load_teacher, warn_if_teacher_is_smaller

__all__ = [
    'build_model',
    'build_student',
    'build_teacher',
    'compute_valid_ratios',
    'export_student',
    'get_image_size',
    'initialize_teacher',
    'load_teacher',
    'make_pixel_conversion',
    'merge_options',
    'published_checkpoint',
    'read_config',
    'record_valid_shapes',
    'warn_if_teacher_is_smaller',
]
