"""Values of options: as in mmengine, but with the spaces, commas and quotes of names."""

from typing import Any

import pytest
from mmengine.config import DictAction

from lckd_mm.analysis.comparison import Variant
from lckd_mm.analysis.configs import parse_options
from lckd_mm.analysis.option_values import format_value, parse_value
from lckd_mm.errors import ConfigValueError

# Without spaces in names, commas in quotes, or dicts.
AS_IN_MMENGINE = (
    '1', '-1', '1e-3', '0.5', 'True', 'false', 'None', 'text', '', 'a=b', "'18'", '"text"', '1,2', '[1,2]', '[1, 2]', '(1,2)', '(1,)', '[]',
    '()', '[a]', '[(1, 2, 3), [a, b], c]', 'a,b', '[a,,b]', '1,', "['a','b']", "'[1,2]'", '[None,True]', '/data/(x', 'mmdet::a/b.py',
    '[[1,2],[3]]', '((1,2),(3,4))', 'inf', '1_000', "O'Brien",
)  # fmt: skip


@pytest.mark.parametrize('text', AS_IN_MMENGINE)
def test_values_are_those_of_mmengine(text: str) -> None:
    assert repr(parse_value(text)) == repr(DictAction._parse_iterable(text))


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('/data/my set/a.pth', '/data/my set/a.pth'),
        (' padded ', 'padded'),
        ("'one, two.pth'", 'one, two.pth'),
        ("['one, two', \"it's\", O'Brien, d'Arc]", ['one, two', "it's", "O'Brien", "d'Arc"]),
        ('/data/(copy 2)/a.pth', '/data/(copy 2)/a.pth'),
        ('a "b" $(touch pwned) \'ü', 'a "b" $(touch pwned) \'ü'),
        ('(1,2),(3,4)', [(1, 2), (3, 4)]),
        ("{'a': [1, None], 'b': 'c d'}", dict(a=[1, None], b='c d')),
        ('{a}', '{a}'),
        ("__import__('os').system('touch pwned')", "__import__('os').system('touch pwned')"),
        ("{'a': __import__('os')}", "{'a': __import__('os')}"),
    ],
)
def test_names_stay_as_they_are(text: str, expected: Any) -> None:
    assert parse_value(text) == expected


@pytest.mark.parametrize('text', ['[a,b', '(a,b]', 'a),b', '[a,(b]'])
def test_open_brackets_are_refused(text: str) -> None:
    with pytest.raises(ConfigValueError, match='close every bracket'):
        parse_value(text)


@pytest.mark.parametrize('value', [1, None, True, ['a b', 'c, d', 1, [None]], [], "it's", [1.5]])
def test_values_of_yaml_files_are_read_back(value: Any) -> None:
    assert parse_value(format_value(value)) == value


def test_options_of_variants_keep_spaces() -> None:
    variant = Variant.parse("""new: "/my data/a.py" 'model.teacher_ckpt=/my data/"t" $(touch x).pth'""")
    assert variant.config == '/my data/a.py'
    assert parse_options(variant.options) == {'model.teacher_ckpt': '/my data/"t" $(touch x).pth'}
