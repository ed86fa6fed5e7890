#!/usr/bin/env bash
# Sets everything up, then runs the main job on the bundled demonstration set: detection (by default),
# segmentation, classification or all; arguments go to tools/quickstart.py.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/tools/setup_env.sh"
cd "$root"
exec "${LCKD_VENV:-$root/.venv}/bin/python" tools/quickstart.py "$@"
