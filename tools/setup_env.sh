#!/usr/bin/env bash
# Creates the environment for the tests and the quick start. Idempotent; resumes interrupted work.
#
#   bash tools/setup_env.sh
#   LCKD_STACK=onedl LCKD_VENV=/path/to/environment bash tools/setup_env.sh
#
#   LCKD_STACK=openmmlab|onedl        the OpenMMLab packages: the original ones (default), or the maintained fork
#   LCKD_PYTHON=/path/to/python       the interpreter of .venv (default: the newest on PATH with which the stack was tested)
#   LCKD_VENV=/path/to/environment    an existing environment that is used in place of .venv; its torch, torchvision,
#                                     OpenCV and a working mmcv are kept
#
# If torch sees a GPU, mmcv's operators are built for it; CUDA_VISIBLE_DEVICES= (empty) builds them for the CPU.
set -euo pipefail

# The help text is the comment above.
case ${1:-} in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" && exit 0 ;; esac

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="${LCKD_VENV:-$root/.venv}"
python="$venv/bin/python"
logs="$venv/lckd_logs"
stamp="$venv/.lckd_stamp"
requirements="$root/requirements"
stack="${LCKD_STACK:-openmmlab}"
# The versions of Python with which a stack was tested, newest first; see docs/installation.md.
case $stack in
    openmmlab) tested_pythons='3.13 3.12 3.11 3.10' ;;
    onedl) tested_pythons='3.13 3.11' ;;
esac
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

# run_logged NAME TITLE COMMAND...: runs a command with a log, prints the elapsed time every 30 s, and returns its status.
run_logged() {
    local log="$logs/$1.log" title=$2 start=$SECONDS reported=0 status=0
    shift 2
    say "$title"
    mkdir -p "$logs"
    # In a session of its own, whose process group receives the signal of an interruption.
    setsid "$@" >"$log" 2>&1 &
    child=$!
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.2
        if [ $((SECONDS - start - reported)) -ge 30 ]; then
            reported=$((SECONDS - start))
            say "$title; $(clock "$reported") elapsed"
        fi
    done
    wait "$child" || status=$?
    child=''
    return "$status"
}

# step NAME TITLE COMMAND...: run_logged, and a failure ends the script.
step() {
    run_logged "$@" && return
    echo "---- last lines of $logs/$1.log" >&2
    tail -n 20 "$logs/$1.log" >&2
    if grep -qE 'Could not find a version|Connection refused|Failed to establish|name resolution|timed out' "$logs/$1.log"; then
        hint="pip could not reach its package index: check the connection, or set PIP_INDEX_URL to the URL of another index."
    fi
    fail "the step '$1' (${2%%:*}) failed; its complete log is $logs/$1.log.${hint:+ $hint}"
}

pip_install() {
    local name=$1 title=$2
    shift 2
    step "$name" "$title" "$python" -m pip install "$@"
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

find_python() {
    local candidate tested
    if [ -n "${LCKD_PYTHON:-}" ]; then
        [ -n "$(version_of "$LCKD_PYTHON")" ] || fail "LCKD_PYTHON=$LCKD_PYTHON does not run: set it to a Python (${tested_pythons// /, })."
        echo "$LCKD_PYTHON"
        return
    fi
    for tested in $tested_pythons; do
        for candidate in "python$tested" python3 python; do
            if [ "$(version_of "$candidate")" = "$tested" ]; then
                echo "$candidate"
                return
            fi
        done
    done
    fail "there is no Python ${tested_pythons// / or } on PATH: install it, or set LCKD_PYTHON to its path."
}

make_environment() {
    if [ -n "${LCKD_VENV:-}" ]; then
        "$python" -m pip --version >/dev/null 2>&1 ||
            fail "LCKD_VENV=$venv is not an environment with pip: $python -m pip does not run."
        return
    fi
    local interpreter required='' fault=''
    if [ -n "${LCKD_PYTHON:-}" ]; then
        interpreter="$(find_python)"
        required="$(version_of "$interpreter")"
    fi
    # An interrupted set-up leaves a .venv without pip; an interpreter that was moved leaves a dead link.
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        fault='does not work'
    elif [ "${required:-$(version_of "$python")}" != "$(version_of "$python")" ]; then
        fault="has Python $(version_of "$python"), but LCKD_PYTHON=$LCKD_PYTHON is Python $required"
    else
        return 0
    fi
    interpreter="$(find_python)"
    [ ! -e "$venv" ] || say "$venv $fault: it is created again"
    rm -rf "$venv"
    mkdir -p "$logs"
    hint="On Debian and Ubuntu, install the package python$(version_of "$interpreter")-venv."
    step environment "creating $venv with $interpreter ($(version_of "$interpreter")): a few seconds" \
        "$interpreter" -m venv "$venv"
    hint=''
}

# A hash of everything that the environment depends on; if it changes, all steps are repeated.
fingerprint() {
    {
        cat "$requirements"/*.txt "$root/pyproject.toml" "$root/setup.py" "$root/lckd_mm/dependencies.py" "$root/tools/setup_env.sh"
        echo "$root $stack"
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

# Whether mmcv's operators load. lckd_mm.compat is imported without lckd_mm/__init__.py, which needs all OpenMMLab packages.
# With LCKD_VENV, every mmcv that lckd_mm accepts is kept.
mmcv_works() {
    "$python" - "$root" "$stack" "${LCKD_VENV:+any}" 2>/dev/null <<'PY'
import re, sys, types
root, stack, accepts_any = sys.argv[1:]
package = types.ModuleType('lckd_mm')
package.__path__ = [root + '/lckd_mm']
sys.modules['lckd_mm'] = package
from lckd_mm import compat
from lckd_mm.dependencies import FRAMEWORKS, find_version
compat.PATCHES['torchvision_import'].apply()
compat.check_mmcv_ops()
name = FRAMEWORKS['mmcv'][stack].name
required = re.search(rf'^{name}==(\S+)', open(f'{root}/requirements/{stack}_mmcv.txt').read(), re.MULTILINE)[1]
sys.exit(not find_version(name) or (not accepts_any and find_version(name) != required))
PY
}

# Prints the installed distributions of the other stack, whose files have the same names.
other_stack() {
    "$python" - "$root" "$stack" <<'PY'
import runpy, sys
table = runpy.run_path(sys.argv[1] + '/lckd_mm/dependencies.py')
for distributions in table['FRAMEWORKS'].values():
    for stack, distribution in distributions.items():
        if stack != sys.argv[2] and table['find_version'](distribution.name):
            print(distribution.name)
PY
}

# Removes the metadata of required packages whose files are missing or truncated, so that pip installs them again.
forget_damaged() {
    "$python" - "${LCKD_VENV:+keep-torch}" "$requirements"/{torch,build,runtime,tests,"$stack","${stack}_mmcv"}.txt <<'PY'
import collections, importlib.metadata as m, pathlib, re, shutil, sys
kept, *requirements = sys.argv[1:]
canonical = lambda name: re.sub('[-_.]+', '-', name).lower()
lines = [line for file in requirements for line in open(file) if line[0].isalnum()]
required = {canonical(re.split('[=<>]', line)[0].strip()) for line in lines}
required -= {'torch', 'torchvision'} if kept else set()
dists = {pathlib.Path(dist._path): dist for dist in m.distributions()}
# Some packages contain the same file (tests/__init__.py); the last one installed has replaced the others.
owners = collections.Counter(str(file) for dist in dists.values() for file in dist.files or ())

def is_complete(folder, dist):
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
    if folder.suffix == '.dist-info' and name in required and not is_complete(folder, dist):
        print(f'[set-up] {name} is incomplete: it is installed again')
        shutil.rmtree(folder)
PY
}

lckd_mm_imports() {
    "$python" -c '
import lckd_mm, os, sys
imported = os.path.realpath(os.path.dirname(lckd_mm.__file__))
expected = os.path.realpath(sys.argv[1] + "/lckd_mm")
if imported != expected:
    sys.exit(f"lckd_mm is imported from {imported}, not from {expected}")
if not os.path.exists(imported + "/.mim/model-index.yml"):
    sys.exit(f"{imported}/.mim is missing")
' "$root"
}

install_all() {
    local keeps_torch=false keeps_opencv=false other
    rm -f "$stamp"
    mkdir -p "$logs"
    forget_damaged
    if [ -n "${LCKD_VENV:-}" ]; then
        if "$python" -c 'import torch' 2>/dev/null; then
            check_torch || fail "the environment LCKD_VENV=$venv cannot be used (see above)."
            keeps_torch=true
        fi
        ! "$python" -c 'import cv2' 2>/dev/null || keeps_opencv=true
    fi
    other="$(other_stack | tr '\n' ' ')"
    if [ -n "$other" ]; then
        [ -z "${LCKD_VENV:-}" ] ||
            fail "LCKD_VENV=$venv contains packages of the other stack ($other): uninstall them, or set LCKD_STACK."
        step other_stack "removing the other stack ($other)" "$python" -m pip uninstall -y $other
    fi
    # A requirement with hashes extends over several lines.
    awk -v skip="$keeps_opencv" '/^[a-z]/ { omit = skip == "true" && /^opencv-python-headless==/ } !omit' \
        "$requirements/runtime.txt" >"$logs/runtime.txt"

    pip_install build 'installing the build requirements of mmcv: a few seconds' -r "$requirements/build.txt"
    if ! $keeps_torch; then
        pip_install torch "installing torch: a few minutes the first time, mostly download" -r "$requirements/torch.txt"
    fi
    pip_install runtime 'installing the other packages: about a minute the first time' \
        -r "$logs/runtime.txt" -r "$requirements/tests.txt"
    pip_install "$stack" "installing the OpenMMLab packages of the stack $stack, without mmcv: half a minute" \
        --no-deps -r "$requirements/$stack.txt"
    install_mmcv
    pip_install lckd_mm 'installing lckd_mm in development mode: a few seconds' \
        --no-build-isolation --no-deps -e "$root"
}

# Prints torch and torchvision of LCKD_VENV, or why they are not accepted.
check_torch() {
    local versions
    versions="$("$python" - "$root" <<'PY'
import runpy, sys
table = runpy.run_path(sys.argv[1] + '/lckd_mm/dependencies.py')
for dependency in table['TORCH']:
    version = table['find_version'](dependency.name)
    if version is None:
        sys.exit(f'LCKD_VENV contains torch but not {dependency.name}: install the version that fits this torch')
    if not table['is_accepted'](version, dependency.versions):
        sys.exit(f'LCKD_VENV contains {dependency.name} {version}, but lckd_mm requires {dependency.versions}')
    print(dependency.name, version)
PY
    )" || return 1
    say "keeping" $versions
}

install_mmcv() {
    ! mmcv_works || return 0
    if [ "$("$python" -c 'import torch; print(torch.cuda.is_available())')" = True ] &&
        [ ! -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ] && ! command -v nvcc >/dev/null; then
        fail "torch sees a GPU, but nvcc, which builds mmcv's operators for it, is missing: install the CUDA toolkit" \
            "$("$python" -c 'import torch; print(torch.version.cuda)') and set CUDA_HOME, or run this script with" \
            "CUDA_VISIBLE_DEVICES= (empty) to build them for the CPU."
    fi
    local title="building mmcv's operators: about 8 minutes on 2 cores, seconds if pip has cached the wheel"
    hint="The build requires a C++ compiler (g++) and the headers of Python ($(basename "$(readlink -f "$python")")-dev)."
    # Many Pythons compile extensions with debug information, which costs time and memory. CFLAGS replaces the flags of Python,
    # -O3 among them.
    local flags
    flags="$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("CFLAGS"))')"
    export MMCV_WITH_OPS=1 CFLAGS="${CFLAGS:-$flags} -g0"
    # Its sitecustomize.py lets setup.py of mmcv 2.1.0 run with Python 3.13.
    local -x PYTHONPATH="$root/tools/mmcv_build${PYTHONPATH:+:$PYTHONPATH}"
    # pip accepts an installed package that does not work.
    pip_install mmcv "$title" --no-build-isolation --no-deps --force-reinstall -r "$requirements/${stack}_mmcv.txt"
    if ! mmcv_works; then
        say "the cached wheel of mmcv was built for another torch"
        pip_install mmcv "${title%,*}" --no-build-isolation --no-deps --force-reinstall --no-cache-dir \
            -r "$requirements/${stack}_mmcv.txt"
        mmcv_works || fail "mmcv was built, but its operators do not load; the log is $logs/mmcv.log."
    fi
    hint=''
}

hint=''
make_lock() {
    command -v flock >/dev/null || return 0
    # The folder itself is locked, which leaves no lock file. The processes of the set-up inherit the lock: those of a killed
    # set-up are waited for.
    if [ -n "${LCKD_VENV:-}" ]; then exec 9<"$venv"; else exec 9<"$root"; fi
    flock -n 9 || {
        say 'waiting for another set-up, or for the remaining processes of one'
        flock 9
    }
}

[ $# -eq 0 ] || fail "argument '$1' is not expected: environment variables set the options, see --help."
[ -n "${tested_pythons:-}" ] || fail "LCKD_STACK=$stack is unknown: use openmmlab or onedl."
[ -z "${LCKD_VENV:-}" ] || [ -d "$venv" ] || fail "LCKD_VENV=$venv is not a folder: set it to an existing environment."
make_lock
make_environment
if [ "$(cat "$stamp" 2>/dev/null)" = "$(fingerprint)" ] && lckd_mm_imports >/dev/null 2>&1; then
    say "the environment $venv is ready ($SECONDS s)"
    exit 0
fi
install_all
export python root
export -f lckd_mm_imports
step check 'checking that lckd_mm can be imported: a few seconds' bash -c lckd_mm_imports
fingerprint >"$stamp"
say "the environment $venv is ready ($(clock "$SECONDS") min)"
