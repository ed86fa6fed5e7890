from .build import build_model
from .config_file import read_config
from .export import export_student
from .padding import compute_valid_ratios
from .teacher import load_teacher

__all__ = ['build_model', 'compute_valid_ratios', 'export_student', 'load_teacher', 'read_config']
