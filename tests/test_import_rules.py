"""Imports point one way: tools, cli -> analysis, engine -> models -> spectral."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'lckd_mm'

# What every layer may import.
FILES = {'errors', 'atomic_files', 'checkpoint', 'checkpoint_path', 'json_lines', 'latest_checkpoint'}
# Each layer, and the parts of the package that it may import.
LAYERS = {
    'spectral': {'spectral'},
    'errors.py': set(),
    'safe_globals.py': set(),
    'atomic_files.py': {'errors'},
    'checkpoint.py': {'errors', 'atomic_files', 'safe_globals'},
    'json_lines.py': {'atomic_files', 'errors'},
    'latest_checkpoint.py': {'checkpoint', 'errors'},
    'downloads.py': {'errors', 'checkpoint'},
    'pickles.py': {'errors', 'checkpoint'},
    'checkpoint_path.py': {'errors'},
    'dependencies.py': set(),
    'state_dicts.py': set(),
    'compat': {*FILES, 'downloads', 'pickles', 'state_dicts', 'compat', 'dependencies'},
    'models': {*FILES, 'dependencies', 'state_dicts', 'spectral', 'models'},
    'datasets': {'errors', 'datasets'},
    'engine': {*FILES, 'dependencies', 'state_dicts', 'spectral', 'models', 'engine'},
    'analysis': {
        *FILES,
        'dependencies',
        'state_dicts',
        'spectral',
        'models',
        'engine',
        'analysis',
        'datasets',
        'version',
    },
}


def modules(folder: Path) -> list[Path]:
    return [path for path in ([folder] if folder.is_file() else folder.rglob('*.py')) if '.mim' not in path.parts]


def imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the absolute module name and the imported names of each import in a file."""
    package = list(path.relative_to(ROOT).with_suffix('').parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield '.'.join([*base, *(node.module or '').split('.')]).strip('.'), [alias.name for alias in node.names]


def imported_parts(path: Path) -> set[str]:
    """Return the parts of lckd_mm that a file imports: 'models' for ``lckd_mm.models.presets``."""
    parts = set()
    for module, names in imports(path):
        head, _, rest = module.partition('.')
        if head == 'lckd_mm':
            parts |= {rest.partition('.')[0]} if rest else set(names)
    return parts


@pytest.mark.parametrize('layer', LAYERS)
def test_layer_imports_only_lower_layers(layer: str) -> None:
    paths = modules(PACKAGE / layer)
    assert paths
    for path in paths:
        assert imported_parts(path) <= LAYERS[layer], path


@pytest.mark.parametrize('folder', ['tools', 'lckd_mm/cli', 'lckd_mm/analysis', 'lckd_mm/engine', 'lckd_mm/datasets'])
def test_fronts_import_nothing_private(folder: str) -> None:
    for path in modules(ROOT / folder):
        for module, names in imports(path):
            private = [
                name for name in (*module.split('.'), *names) if name.startswith('_') and not name.startswith('__')
            ]
            assert not (module.startswith('lckd_mm') and private), f'{path} imports {module}: {private}'


def test_spectral_imports_only_torch_and_the_standard_library() -> None:
    import sys

    for path in modules(PACKAGE / 'spectral'):
        heads = {module.partition('.')[0] for module, _ in imports(path)}
        assert heads <= {'torch', 'lckd_mm', *sys.stdlib_module_names}, path


def test_no_module_checks_the_class_of_a_sibling() -> None:
    """A class knows its collaborators by the interfaces of lckd_mm.models.interfaces, not by their class."""
    siblings = {
        'LipschitzDistiller',
        'LipschitzLoss',
        'OverhaulLoss',
        'SpectralNormConnector',
        'MarginConnector',
        'OFDTeacherConnector',
    }
    for path in modules(PACKAGE):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'isinstance':
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                assert not names & siblings, f'{path}:{node.lineno}'
