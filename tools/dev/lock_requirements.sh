#!/usr/bin/env bash
# Writes requirements/*.txt from requirements/*.in: versions and hashes for Python 3.10 to 3.13.
#
#   bash tools/dev/lock_requirements.sh [ARGUMENTS OF UV PIP COMPILE]
#
# Present versions stay; `--upgrade` replaces them, `--upgrade-package NAME` one of them. torch.txt is written by hand.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'uv>=0.11,<1'

for input in "$root"/requirements/*.in; do
    output="${input%.in}.txt"
    dependencies=()
    case $(basename "$input") in openmmlab* | onedl* | robustness*) dependencies=(--no-deps) ;; esac
    "$folder/venv/bin/uv" pip compile "$input" --output-file "$output" --universal --python-version 3.10 \
        --generate-hashes --no-annotate --quiet --custom-compile-command 'bash tools/dev/lock_requirements.sh' \
        "${dependencies[@]}" "$@"
done
