#!/usr/bin/env bash
# Sets everything up, then checks the style and runs the tests; arguments go to pytest:
#   bash tools/run_tests.sh tests/spectral -k power
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
bash tools/setup_env.sh
python="${LCKD_VENV:-$root/.venv}/bin/python"

echo '[tests] ruff check'
"$python" -m ruff check .
echo '[tests] ruff format --check'
"$python" -m ruff format --check .
echo "[tests] pytest $*"
exec "$python" -m pytest "$@"
