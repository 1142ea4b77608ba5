#!/bin/sh
# Print the path of a Python interpreter whose version lies between two bounds: find_python.sh 3.11 3.13
# Looks at $PYTHON only, when set; else at python3 and python3.N on PATH and in pyenv's versions folder.
set -eu
low=$1 high=$2

try() {
    "$1" - "$low" "$high" 2>/dev/null <<'PY'
import ensurepip, sys, venv  # a venv needs both; some distributions package them apart
low, high = ([int(part) for part in text.split(".")] for text in sys.argv[1:])
if not low <= list(sys.version_info[:2]) <= high:
    sys.exit(1)
print(sys.executable)
PY
}

if [ -n "${PYTHON:-}" ]; then
    try "$PYTHON" && exit 0
    echo "PYTHON=$PYTHON does not fit: a Python from $low to $high with the venv and ensurepip modules is needed." >&2
    exit 1
fi
for name in python3 python3.13 python3.12 python3.11; do
    try "$name" && exit 0
    for path in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"${name#python}"*/bin/"$name"; do
        if [ -x "$path" ]; then try "$path" && exit 0; fi
    done
done
echo "No Python from $low to $high with the venv and ensurepip modules was found." \
     "Install one, or name it: make ... PYTHON=/path/to/python3" >&2
exit 1
