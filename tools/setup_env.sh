#!/usr/bin/env bash
# Makes the environment that the tests and the quick start run in; can be run again at any time.
#
#   LCKD_PYTHON=/path/to/python3.11   the interpreter to make .venv with (by default python3.11 from PATH)
#   LCKD_VENV=/path/to/environment    use this existing environment, not .venv: its torch and torchvision, its
#                                     OpenCV and an mmcv that works with them are kept as they are
#
# On a machine with a GPU, mmcv's operators are built for it where torch sees it; CUDA_VISIBLE_DEVICES= (empty)
# builds them for the CPU.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="${LCKD_VENV:-$root/.venv}"
python="$venv/bin/python"
logs="$venv/lckd_logs"
stamp="$venv/.lckd_stamp"
requirements="$root/requirements"
child=''
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { echo "[set-up] $*"; }
fail() {
    echo "[set-up] FAILED: $*" >&2
    exit 1
}
clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }
stop_child() { [ -z "$child" ] || kill -TERM -- "-$child" 2>/dev/null || true; }
trap 'stop_child; exit 130' INT TERM

# run_logged NAME TITLE COMMAND...: runs it with a log, says every 30 s how long it has taken; its status is returned.
run_logged() {
    local log="$logs/$1.log" title=$2 start=$SECONDS said=0 status=0
    shift 2
    say "$title"
    mkdir -p "$logs"
    # A session of its own, so that an interruption reaches everything it started.
    setsid "$@" >"$log" 2>&1 &
    child=$!
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.2
        if [ $((SECONDS - start - said)) -ge 30 ]; then
            said=$((SECONDS - start))
            say "$title; $(clock "$said") so far"
        fi
    done
    wait "$child" || status=$?
    child=''
    return "$status"
}

# step NAME TITLE COMMAND...: the same, and the first failure stops everything.
step() {
    run_logged "$@" && return
    echo "---- the last lines of $logs/$1.log" >&2
    tail -n 20 "$logs/$1.log" >&2
    fail "the step '$1' (${2%%:*}) did not succeed; its whole log is $logs/$1.log.${hint:+ $hint}"
}

pip_install() {
    local name=$1 title=$2
    shift 2
    step "$name" "$title" "$python" -m pip install "$@"
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

find_python() {
    local candidate
    if [ -n "${LCKD_PYTHON:-}" ]; then
        [ -n "$(version_of "$LCKD_PYTHON")" ] || fail "LCKD_PYTHON=$LCKD_PYTHON does not run: name a Python 3.11."
        echo "$LCKD_PYTHON"
        return
    fi
    for candidate in python3.11 python3 python; do
        if [ "$(version_of "$candidate")" = 3.11 ]; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 on PATH: install it, or name one with LCKD_PYTHON=/path/to/python3.11."
}

make_environment() {
    if [ -n "${LCKD_VENV:-}" ]; then
        "$python" -m pip --version >/dev/null 2>&1 ||
            fail "LCKD_VENV=$venv is no environment with a Python and pip: there is no working $python."
        return
    fi
    local interpreter wanted=''
    if [ -n "${LCKD_PYTHON:-}" ]; then
        interpreter="$(find_python)"
        wanted="$(version_of "$interpreter")"
    fi
    # A set-up that was cut off leaves a .venv without pip; an interpreter that has moved, a dead link.
    if "$python" -m pip --version >/dev/null 2>&1 && [ "${wanted:-$(version_of "$python")}" = "$(version_of "$python")" ]; then
        return
    fi
    interpreter="$(find_python)"
    [ ! -e "$venv" ] || say "$venv does not work: it is made anew"
    rm -rf "$venv"
    mkdir -p "$logs"
    hint="Debian and Ubuntu have Python's venv module in the package python3.11-venv."
    step environment "making $venv with $interpreter ($(version_of "$interpreter")): a few seconds" \
        "$interpreter" -m venv "$venv"
    hint=''
}

# What the environment depends on; when it changes, the steps are gone through again.
fingerprint() {
    {
        cat "$requirements"/*.txt "$root/setup.py" "$root/lckd_mm/dependencies.py" "$root/tools/setup_env.sh"
        echo "$root"
        "$python" - <<'PY'
import importlib.metadata as m, sys
print(sys.version)
for name in ('torch', 'torchvision'):
    try:
        print(name, m.version(name))
    except m.PackageNotFoundError:
        print(name, None)
PY
    } | sha256sum | cut -d' ' -f1
}

# Loads compat.py by itself, so that this needs no more than torch, torchvision and mmcv. In an environment of the
# user's, any mmcv that lckd_mm accepts will do.
mmcv_works() {
    "$python" - "$root" "${LCKD_VENV:+any}" 2>/dev/null <<'PY'
import importlib.metadata, importlib.util, sys
spec = importlib.util.spec_from_file_location('compat', sys.argv[1] + '/lckd_mm/compat.py')
compat = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compat)
compat.mend_torchvision_without_ops()
compat.check_mmcv_ops()
wanted = open(sys.argv[1] + '/requirements/mmcv.txt').read().split()[-1]
sys.exit(not sys.argv[2] and wanted != f'mmcv=={importlib.metadata.version("mmcv")}')
PY
}

# Of the packages named here, makes pip forget those with files missing or cut short, so that it installs them again.
forget_damaged() {
    "$python" - "${LCKD_VENV:+keep-torch}" "$requirements"/*.txt <<'PY'
import collections, importlib.metadata as m, pathlib, re, shutil, sys
kept, *requirements = sys.argv[1:]
canonical = lambda name: re.sub('[-_.]+', '-', name).lower()
lines = [line for file in requirements for line in open(file) if line.strip() and line[0] != '#']
wanted = {canonical(re.split('[=<>]', line)[0].strip()) for line in lines}
wanted -= {'torch', 'torchvision'} if kept else set()
dists = {pathlib.Path(dist._path): dist for dist in m.distributions()}
# Some packages bring the same file (tests/__init__.py), and the last one's is there.
owners = collections.Counter(str(file) for dist in dists.values() for file in dist.files or ())

def is_whole(folder, dist):
    if not (folder / 'METADATA').is_file() or not (folder / 'RECORD').is_file():
        return False
    for file in dist.files:
        if file.suffix == '.pyc' or '.dist-info' in str(file) or owners[str(file)] > 1:
            continue
        path = pathlib.Path(file.locate())
        if not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
            return False
    return True

for folder, dist in dists.items():
    name = canonical(folder.name.split('-')[0])
    if folder.suffix == '.dist-info' and name in wanted and not is_whole(folder, dist):
        print(f'[set-up] {name} is damaged or half installed: it is installed again')
        shutil.rmtree(folder)
PY
}

lckd_mm_imports() {
    "$python" -c '
import lckd_mm, os, sys
found = os.path.realpath(os.path.dirname(lckd_mm.__file__))
wanted = os.path.realpath(sys.argv[1] + "/lckd_mm")
if found != wanted:
    sys.exit(f"lckd_mm is imported from {found} and not from {wanted}")
if not os.path.exists(found + "/.mim/model-index.yml"):
    sys.exit(f"{found}/.mim is missing")
' "$root"
}

install_all() {
    local torch='torch torchvision' skip='^$'
    rm -f "$stamp"
    forget_damaged
    if [ -n "${LCKD_VENV:-}" ]; then
        if "$python" -c 'import torch' 2>/dev/null; then
            torch="$(LCKD_ROOT="$root" "$python" - <<'PY'
import importlib.metadata as m, os, runpy, sys
table = runpy.run_path(os.environ['LCKD_ROOT'] + '/lckd_mm/dependencies.py')
for wanted in table['DEPENDENCIES'][:2]:
    try:
        found = m.version(wanted.name)
    except m.PackageNotFoundError:
        sys.exit(f'{wanted.name} is missing beside the torch of LCKD_VENV: install the one that belongs to it')
    if not table['is_accepted'](found, wanted.versions):
        sys.exit(f'{wanted.name} {found} of LCKD_VENV is kept, but lckd_mm works with {wanted.versions}')
    print(wanted.name, found)
PY
            )" || fail "the environment LCKD_VENV=$venv does not fit (see above)."
            say "keeping" $torch
            skip='^(torch|torchvision)=='
        fi
        ! "$python" -c 'import cv2' 2>/dev/null || skip="$skip|^opencv-python-headless=="
    fi
    mkdir -p "$logs"
    grep -vE "$skip" "$requirements/build.txt" >"$logs/build.txt"
    grep -vhE "$skip" "$requirements/runtime.txt" "$requirements/tests.txt" >"$logs/runtime.txt"

    pip_install torch "installing torch and what mmcv's build needs: a few minutes the first time, mostly download" \
        -r "$logs/build.txt"
    pip_install runtime 'installing the other packages: about a minute the first time' -r "$logs/runtime.txt"
    pip_install openmmlab 'installing mmengine, mmdet, mmsegmentation, mmpretrain and mmrazor: half a minute' \
        --no-deps -r "$requirements/openmmlab.txt"
    install_mmcv
    pip_install lckd_mm 'installing lckd_mm in development mode: a few seconds' \
        --no-build-isolation --no-deps -e "$root"
}

install_mmcv() {
    ! mmcv_works || return 0
    if [ "$("$python" -c 'import torch; print(torch.cuda.is_available())')" = True ] &&
        [ ! -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ] && ! command -v nvcc >/dev/null; then
        fail "torch sees a GPU, but there is no nvcc to build mmcv's operators for it: install the CUDA toolkit" \
            "$("$python" -c 'import torch; print(torch.version.cuda)') and set CUDA_HOME, or run this again with" \
            "CUDA_VISIBLE_DEVICES= (empty) to build them for the CPU."
    fi
    local title="building mmcv's ops: some 8 minutes on 2 cores, seconds where pip has kept the result"
    hint="The build needs a C++ compiler (g++) and Python's headers (python3.11-dev)."
    # Debug information, which many Pythons ask extensions for, only costs time and memory here.
    export MMCV_WITH_OPS=1 CFLAGS="${CFLAGS:-} -g0"
    # A package that is there but does not work would satisfy pip.
    pip_install mmcv "$title" --no-build-isolation --no-deps --force-reinstall -r "$requirements/mmcv.txt"
    if ! mmcv_works; then
        say "the mmcv that pip had kept was built for another torch"
        pip_install mmcv "${title%,*}" --no-build-isolation --no-deps --force-reinstall --no-cache-dir \
            -r "$requirements/mmcv.txt"
        mmcv_works || fail "mmcv was built, but its operators do not load; the log of the build is $logs/mmcv.log."
    fi
    hint=''
}

hint=''
make_lock() {
    command -v flock >/dev/null || return 0
    # The folder itself is locked: no lock file stays behind. What the set-up starts holds the lock as well, so that
    # the remains of one that was killed are waited for.
    if [ -n "${LCKD_VENV:-}" ]; then exec 9<"$venv"; else exec 9<"$root"; fi
    flock -n 9 || {
        say 'another set-up, or what is left of one, is at work here: waiting for it'
        flock 9
    }
}

[ -z "${LCKD_VENV:-}" ] || [ -d "$venv" ] || fail "LCKD_VENV=$venv is no folder: name an existing environment."
make_lock
make_environment
if [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint)" ] && lckd_mm_imports >/dev/null 2>&1; then
    say "the environment $venv is ready ($SECONDS s)"
    exit 0
fi
install_all
export python root
export -f lckd_mm_imports
step check 'checking that lckd_mm imports: some seconds' bash -c lckd_mm_imports
fingerprint >"$stamp"
say "the environment $venv is ready ($(clock "$SECONDS") min)"
