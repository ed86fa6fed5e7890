#!/usr/bin/env bash
# Trains in several processes, one per GPU; without a GPU, on the CPU with the backend gloo.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: [LCKD_SCRIPT=train.py] [NNODES=1] [NODE_RANK=0] [MASTER_ADDR=127.0.0.1] [PORT=29500] $0 CONFIG GPUS [arguments of train.py]" >&2
    exit 2
fi
. "$(dirname "${BASH_SOURCE[0]}")/dist_common.sh"
launch "$2" train.py "$1" "${@:3}"
