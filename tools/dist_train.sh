#!/usr/bin/env bash
# Trains in several processes, one per GPU; without a GPU, on the CPU with the backend gloo.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/dist_common.sh"
check_arguments 2 "[LCKD_SCRIPT=train.py] [NNODES=1] [NODE_RANK=0] [MASTER_ADDR=127.0.0.1] [PORT=29500] bash $0 CONFIG GPUS [arguments of train.py]" "bash $0 configs/demo/faster_rcnn_r18_digits.py 2 --amp" "$@"
launch "$2" train.py "$1" "${@:3}"
