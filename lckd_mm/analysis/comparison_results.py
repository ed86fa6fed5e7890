"""The file of the results of a comparison."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lckd_mm.errors import ConfigValueError
from lckd_mm.json_lines import append_json_line, read_json_lines

from .comparison import Comparison
from .comparison_plan import Run
from .comparison_settings import INFORMATION, config_fingerprint, teacher_fingerprint
from .configs import load_config, parse_options

Result = dict[str, Any]

FILE = 'results.jsonl'


def read_results(path: str | Path) -> list[Result]:
    r"""Read a file of results. An incomplete line, which an interrupted comparison leaves, is omitted with a note.

    Args:
        path (str | Path): A ``results.jsonl``.

    Returns:
        list[Result]: One result per run; a later one replaces an earlier one of the same run. Empty if there is no such file.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, 'results.jsonl')
        ...     _ = path.write_text('{"seed": 0}\n{"see')
        ...     append_result(path, {'seed': 1})
        ...     read_results(path)
        [{'seed': 0}, {'seed': 1}]
    """
    return read_json_lines(path)


def append_result(path: str | Path, result: Mapping[str, Any]) -> None:
    """Append a result to a file. An incomplete last line is removed.

    Args:
        path (str | Path): A ``results.jsonl``.
        result (Mapping[str, Any]): The result.
    """
    append_json_line(path, result)


class ResultStore:
    """The results of a comparison that belong to its present configs.

    Args:
        comparison (Comparison): The comparison, with a value for ``report_on``.
        out (Path): Folder of ``results.jsonl``.
    """

    def __init__(self, comparison: Comparison, out: Path) -> None:
        self.comparison = comparison
        self.path = out / FILE
        self.results = read_results(self.path)
        self._fingerprints: dict[tuple[str, tuple[str, ...]], tuple[str, str | None]] = {}

    def append(self, result: Result) -> None:
        """Add a result here and to the file."""
        append_result(self.path, result)
        self.results.append(result)

    def find(self, run: Run) -> Result | None:
        """Return the latest result of a run, if it is from the present config, teacher, metric and splits.

        Args:
            run (Run): The run.

        Returns:
            Result, optional: The result.
        """
        matching = [result for result in self._of_run(run) if self._is_current(result, run)]
        return matching[-1] if matching else None

    def find_all(self, runs: Iterable[Run]) -> list[Result]:
        """Return the results of runs, as far as there are any.

        Args:
            runs (Iterable[Run]): The runs.

        Returns:
            list[Result]: The results, with the present names of the variants.
        """
        found = [(run, self.find(run)) for run in runs]
        return [dict(result, variant=run.setting.variant.name) for run, result in found if result is not None]

    def selection(self, run: Run) -> float | None:
        """Return the selection metric of a run; None if the run is missing."""
        result = self.find(run)
        return None if result is None else float(result['select']['last'])

    def check_not_stale(self, run: Run) -> None:
        """Raise an error if a run has results, all of which are from another config or teacher.

        Args:
            run (Run): The run.

        Raises:
            ConfigValueError: It has.
        """
        results = self._of_run(run)
        if results and self.find(run) is None:
            raise ConfigValueError(
                f'the result of {run.title} in {self.path} is from another state of {run.setting.variant.config}, of its teacher, or of '
                'the evaluation: run the comparison without --report-only and --robustness, which repeats it, or restore the config.'
            )

    def fingerprints(self, run: Run) -> tuple[str, str | None]:
        """Return the fingerprints of the config of a run, and of its teacher.

        Args:
            run (Run): The run.

        Returns:
            tuple[str, str | None]: The fingerprints; None without a teacher.
        """
        config = run.setting.variant.config
        options = self.comparison.training_options(run.setting.options, run.stage)
        if (config, options) not in self._fingerprints:
            cfg = load_config(config, parse_options(options))
            self._fingerprints[config, options] = (config_fingerprint(cfg), teacher_fingerprint(cfg))
        return self._fingerprints[config, options]

    def _of_run(self, run: Run) -> list[Result]:
        identity = (run.setting.variant.config, list(run.setting.options), run.seed, run.stage, self.comparison.metric)
        keys = ('config', 'options', 'seed', 'stage', 'metric')
        return [result for result in self.results if tuple(result.get(key) for key in keys) == identity]

    def _is_current(self, result: Result, run: Run) -> bool:
        config, teacher = self.fingerprints(run)
        settings = result['settings']
        # A teacher that is not on this machine cannot be compared.
        is_same_teacher = teacher is None or settings['teacher'] is None or teacher == settings['teacher']
        return settings['config'] == config and is_same_teacher and self._has_evaluations(result)

    def _has_evaluations(self, result: Result) -> bool:
        comparison, report = self.comparison, result['report']
        if result['select']['split'] != comparison.select_on:
            return False
        if result['stage'] == 'screening':
            return True
        return report['split'] == comparison.report_on and report['options'] == list(comparison.report_options)


def comparable_settings(result: Result) -> dict[str, Any]:
    """Return the settings of a result that must be the same for all results.

    Args:
        result (Result): The result.

    Returns:
        dict[str, Any]: The settings without config, teacher and information.
    """
    return {k: v for k, v in result['settings'].items() if k not in ('config', 'teacher', *INFORMATION)}
