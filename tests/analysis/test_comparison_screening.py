"""The trainings of a screening, which may differ from those of the confirmation."""

import json
from pathlib import Path

import pytest

from lckd_mm.cli.compare import main
from tests.helpers.fake_training import install_fake_training

FILE = """
metric: acc
seeds: [0, 1]
screening: {seeds: [9], options: {bonus: 5}}
variants:
- config: a.py
- {name: b, config: b.py, grid: {gain: [1, 2]}}
"""


def test_options_of_the_screening_do_not_change_the_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_fake_training(tmp_path, monkeypatch)
    Path('comparison.yml').write_text(FILE)
    main(['comparison.yml', '--out', 'out'])
    results = [json.loads(line) for line in Path('out/results.jsonl').read_text().splitlines()]
    values = {(r['stage'], r['variant'], tuple(r['options']), r['seed']): r['select']['last'] for r in results}
    # gain + 10 * seed + 3 epochs, and a bonus of 5 * (seed + 1) in the screening.
    assert values == {
        ('screening', 'b', ('gain=1',), 9): 1 + 90 + 3 + 50,
        ('screening', 'b', ('gain=2',), 9): 2 + 90 + 3 + 50,
        ('confirmation', 'a', (), 0): 3,
        ('confirmation', 'a', (), 1): 13,
        ('confirmation', 'b', ('gain=2',), 0): 5,
        ('confirmation', 'b', ('gain=2',), 1): 15,
    }
    configs = {(r['variant'], r['stage']): r['settings']['config'] for r in results}
    assert configs['b', 'screening'] != configs['b', 'confirmation']
    # Every run has a result, so that none is repeated.
    main(['comparison.yml', '--out', 'out'])
    assert len(Path('out/results.jsonl').read_text().splitlines()) == len(results)
