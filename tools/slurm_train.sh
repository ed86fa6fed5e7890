#!/usr/bin/env bash
# Trains as a Slurm job.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/dist_common.sh"
check_arguments 4 "[LCKD_SCRIPT=train.py] [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] bash $0 PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]" "GPUS=8 bash $0 my_partition my_job configs/voc/lckd_faster_rcnn.py work_dirs/lckd --amp" "$@"
launch_slurm "$1" "$2" train.py "$3" --work-dir "$4" "${@:5}"
