from .build import build_model
from .config_file import merge_options, read_config
from .export import export_student
from .padding import compute_valid_ratios
from .teacher import load_teacher

__all__ = ['build_model', 'compute_valid_ratios', 'export_student', 'load_teacher', 'merge_options', 'read_config']
