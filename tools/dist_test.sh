#!/usr/bin/env bash
# Evaluates in several processes, one per GPU; without a GPU, on the CPU with the backend gloo.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/dist_common.sh"
check_arguments 3 "[LCKD_SCRIPT=test.py] [NNODES=1] [NODE_RANK=0] [MASTER_ADDR=127.0.0.1] [PORT=29500] bash $0 CONFIG CHECKPOINT GPUS [arguments of test.py]" "bash $0 configs/demo/faster_rcnn_r18_digits.py work_dirs/faster_rcnn_r18_digits/epoch_7.pth 2" "$@"
launch "$3" test.py "$1" "$2" "${@:4}"
