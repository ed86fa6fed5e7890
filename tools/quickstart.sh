#!/usr/bin/env bash
# Sets up the environment, then trains a teacher, a student alone and the same student with LCKD on the bundled data set.
#
#   bash tools/quickstart.sh [detection|segmentation|classification|all] [--fresh]
#
#   --fresh   repeat finished trainings
#
# The default is detection. The arguments are those of tools/quickstart.py. Example:
#
#   bash tools/quickstart.sh classification
set -euo pipefail

# The help text is the comment above.
case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" && exit 0 ;; esac

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# The folder changes below.
[ ! -d "${LCKD_VENV:-}" ] || export LCKD_VENV="$(cd "$LCKD_VENV" && pwd)"
bash "$root/tools/setup_env.sh"
cd "$root"
exec "${LCKD_VENV:-$root/.venv}/bin/python" tools/quickstart.py "$@"
