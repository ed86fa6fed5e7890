# Sourced by the launchers: the interpreter, and how many threads a process may use.

tools="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

# An environment that the user has activated comes first, then the checkout's own.
if [ -z "${PYTHON:-}" ]; then
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$tools/../.venv/bin/python" ]; then
        PYTHON="$tools/../.venv/bin/python"
    else
        PYTHON=python
    fi
fi

# launch PROCESSES TOOL ARGUMENTS...: as many processes on this machine, over NNODES machines.
launch() {
    local processes=$1 tool=$2
    shift 2
    if ! [[ $processes =~ ^[1-9][0-9]*$ ]]; then
        echo "the number of processes must be a positive whole number, not '$processes'" >&2
        exit 2
    fi
    local share=$(($(nproc) / processes))
    # Else torchrun sets one thread: too few for processes that compute on the CPU.
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((share > 0 ? share : 1))}"
    exec "$PYTHON" -m torch.distributed.run \
        --nnodes="${NNODES:-1}" \
        --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" \
        --master_port="${PORT:-29500}" \
        --nproc_per_node="$processes" \
        "$tools/$tool" "$@" --launcher pytorch
}

# launch_slurm PARTITION JOB_NAME TOOL ARGUMENTS...: one task for each of GPUS.
launch_slurm() {
    local partition=$1 job=$2 tool=$3
    shift 3
    local gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8}
    per_node=$((per_node < gpus ? per_node : gpus))
    # SRUN_ARGS is a list of arguments in one string.
    # shellcheck disable=SC2086
    exec srun -p "$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
        --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
        "$PYTHON" -u "$tools/$tool" "$@" --launcher slurm
}
