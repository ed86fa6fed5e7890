#!/usr/bin/env bash
# Sets up the environment, then checks style and types and runs the tests and the examples of all docstrings.
#
#   bash tools/run_tests.sh [--coverage] [--random] [ARGUMENTS OF PYTEST]
#
#   --coverage   measure the coverage, subprocesses included; fail below 95 % of the package or 100 % of lckd_mm/spectral
#   --random     run the tests in random order
#   --slow       run the long tests as well (an option of this project's pytest)
#
# The tests run in 2 processes; `-n 4` or LCKD_TEST_PROCESSES=4 sets another number, `-n 0` runs them in this process. Examples:
#
#   bash tools/run_tests.sh tests/spectral -k power
#   bash tools/run_tests.sh --slow --coverage
set -euo pipefail

# The help text is the comment above.
case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" && exit 0 ;; esac

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# The folder changes below.
[ ! -d "${LCKD_VENV:-}" ] || export LCKD_VENV="$(cd "$LCKD_VENV" && pwd)"
cd "$root"

processes="${LCKD_TEST_PROCESSES:-2}"
coverage=false
order=(-p no:randomly)
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
        --coverage) coverage=true ;;
        --random) order=() ;;
        -n | --numprocesses)
            [ $# -gt 1 ] || { echo "[tests] $1 needs a number of processes" >&2 && exit 2; }
            processes=$2
            shift
            ;;
        -n*) processes=${1#-n} ;;
        --numprocesses=*) processes=${1#*=} ;;
        *) arguments+=("$1") ;;
    esac
    shift
done

bash tools/setup_env.sh
python="${LCKD_VENV:-$root/.venv}/bin/python"

check() {
    echo "[tests] $*"
    "$python" -m "$@"
}
check ruff check .
check ruff format --check .
check mypy

# Parallel processes share the cores.
if [ "$processes" != 0 ]; then
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
fi
# Paths among the arguments replace `testpaths`.
pytest=(pytest -n "$processes" "${order[@]}" --doctest-modules -o 'testpaths=tests lckd_mm' "${arguments[@]}")
if ! $coverage; then
    check "${pytest[@]}"
    exit
fi
check coverage erase
status=0
check coverage run -m "${pytest[@]}" || status=$?
check coverage combine --quiet
check coverage report --skip-covered --show-missing --fail-under=95 || status=$?
check coverage report --include='lckd_mm/spectral/*' --show-missing --fail-under=100 || status=$?
exit "$status"
