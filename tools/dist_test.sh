#!/usr/bin/env bash
# Evaluates in several processes, one per GPU; without a GPU, on the CPU with the backend gloo.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: [LCKD_SCRIPT=test.py] [NNODES=1] [NODE_RANK=0] [MASTER_ADDR=127.0.0.1] [PORT=29500] $0 CONFIG CHECKPOINT GPUS [arguments of test.py]" >&2
    exit 2
fi
. "$(dirname "${BASH_SOURCE[0]}")/dist_common.sh"
launch "$3" test.py "$1" "$2" "${@:4}"
