# Sourced by the launchers: selects the interpreter and the number of threads per process.

tools="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

# An activated environment has priority over that of the repository.
if [ -z "${PYTHON:-}" ]; then
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$tools/../.venv/bin/python" ]; then
        PYTHON="$tools/../.venv/bin/python"
    else
        PYTHON=python
    fi
fi

# check_arguments NUMBER USAGE EXAMPLE ARGUMENTS...: prints the usage for --help, and for fewer than NUMBER arguments.
check_arguments() {
    local number=$1 usage="usage: $2"$'\n'"example: $3"
    shift 3
    case ${1:-} in -h | --help) echo "$usage" && exit 0 ;; esac
    [ $# -ge "$number" ] || { echo "$usage" >&2 && exit 2; }
}

# The command after the interpreter: the tool, or the script of another project that LCKD_SCRIPT names.
tool_command() {
    if [ -n "${LCKD_SCRIPT:-}" ]; then
        command=(-m lckd_mm run "$LCKD_SCRIPT")
    else
        command=("$tools/$1")
    fi
}

# torchrun without its own traceback and log: a process that ends with status 2 has reported what is wrong in one sentence.
launcher='
import logging, sys
from torch.distributed import run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
try:
    run.run(run.parse_args(None))
except ChildFailedError as error:
    if 2 not in {failure.exitcode for failure in error.failures.values()}:
        raise
    sys.exit(2)
'

# launch PROCESSES TOOL ARGUMENTS...: starts that many processes on each of NNODES machines.
launch() {
    local processes=$1 tool=$2
    shift 2
    if ! [[ $processes =~ ^[1-9][0-9]*$ ]]; then
        echo "the number of processes is '$processes': give a positive integer" >&2
        exit 2
    fi
    local share=$(($(nproc) / processes))
    # torchrun sets one thread per process by default, which is too few for training on a CPU.
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((share > 0 ? share : 1))}"
    tool_command "$tool"
    exec "$PYTHON" -c "$launcher" \
        --nnodes="${NNODES:-1}" \
        --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" \
        --master_port="${PORT:-29500}" \
        --nproc_per_node="$processes" \
        "${command[@]}" "$@" --launcher pytorch
}

# launch_slurm PARTITION JOB_NAME TOOL ARGUMENTS...: starts one task per GPU.
launch_slurm() {
    local partition=$1 job=$2 tool=$3
    shift 3
    local gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8}
    per_node=$((per_node < gpus ? per_node : gpus))
    tool_command "$tool"
    # SRUN_ARGS is a string with several arguments.
    # shellcheck disable=SC2086
    exec srun -p "$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
        --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
        "$PYTHON" -u "${command[@]}" "$@" --launcher slurm
}
