#!/usr/bin/env bash
# Trains as a Slurm job.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: [LCKD_SCRIPT=train.py] [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] $0 PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]" >&2
    exit 2
fi
. "$(dirname "${BASH_SOURCE[0]}")/dist_common.sh"
launch_slurm "$1" "$2" train.py "$3" --work-dir "$4" "${@:5}"
