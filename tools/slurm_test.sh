#!/usr/bin/env bash
# Evaluates as a Slurm job.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: [LCKD_SCRIPT=test.py] [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] $0 PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]" >&2
    exit 2
fi
. "$(dirname "${BASH_SOURCE[0]}")/dist_common.sh"
launch_slurm "$1" "$2" test.py "$3" "$4" "${@:5}"
