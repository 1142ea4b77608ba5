#!/bin/sh
# Make a virtual environment from a lock file: make_venv.sh <dir> <lock file> <lowest Python> <highest Python>
# Does nothing when the environment already matches the lock. Removes it and starts again when anything else changed.
set -eu
venv=$1 lock=$2
here=$(dirname "$0")
stamp="$(cksum <"$lock") in $(pwd)"

if [ -f "$venv/stamp" ] && [ "$(cat "$venv/stamp")" = "$stamp" ] && "$venv/bin/python" -c "" 2>/dev/null; then
    exit 0
fi
python=$(sh "$here/find_python.sh" "$3" "$4")
echo "Making $venv from $lock (needed once, and again when the pins change) ..."

# Neither compiles: Python does so with what it imports, and the package ansible is mostly collections that nothing here imports.
with_uv() {
    uv=$(sh "$here/find_uv.sh" "$python") &&
        "$uv" venv --quiet --seed --clear --python "$python" "$venv" &&
        "$uv" pip install --quiet --python "$venv/bin/python" --no-deps --requirements "$lock" &&
        "$uv" pip check --quiet --python "$venv/bin/python"
}

with_pip() {
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-compile --no-deps -r "$lock"
    "$venv/bin/python" -m pip check --disable-pip-version-check
}

# uv does not read the settings of pip, so it may not reach the index that pip reaches.
with_uv || with_pip
printf '%s\n' "$stamp" >"$venv/stamp"
