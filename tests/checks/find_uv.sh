#!/bin/sh
# Print the path of uv, which fills environments in a tenth of pip's time: find_uv.sh <python>
# It is a program of its own and stays in build/ in its pinned version. Fails where the package index has none.
set -eu
version=$(sed -n 's/^uv==//p' "$(dirname "$0")/../../requirements/uv.txt")
uv=$(pwd)/build/uv-$version
if [ ! -x "$uv" ]; then
    mkdir -p build
    work=$(mktemp -d build/uv.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    "$1" -m venv "$work" >&2
    "$work/bin/python" -m pip install -qq --disable-pip-version-check --no-compile --no-deps -r requirements/uv.txt >&2
    mv "$work/bin/uv" "$uv" # in one step, so that two runs at once do not disturb each other
fi
printf '%s\n' "$uv"
