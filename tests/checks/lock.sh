#!/bin/sh
# Resolve requirements/<name>.in into requirements/<name>.txt: lock.sh <name> <lowest Python> <highest Python>
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(sh "$here/find_python.sh" "$2" "$3")
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq --disable-pip-version-check -r "requirements/$1.in"
{
    echo "# Made by \`make requirements\` from $1.in. Do not edit."
    "$work/venv/bin/python" -m pip freeze --disable-pip-version-check
} >"$work/lock"
cp "$work/lock" "requirements/$1.txt"
echo "requirements/$1.txt: $(grep -c == "requirements/$1.txt") packages"
