#!/bin/sh
# Unit tests and sanity on another release of the ansible package (10 to 14 bring ansible-core 2.17 to 2.21): compat.sh 11
# These environments are not pinned: they answer whether today's releases still work.
set -eu
case $1 in
    10) low=3.11 high=3.12 ;;
    11 | 12) low=3.11 high=3.13 ;;
    13 | 14) low=3.12 high=3.13 ;;
    *) echo "ANSIBLE must be 10, 11, 12, 13 or 14." >&2; exit 1 ;;
esac
here=$(dirname "$0")
venv=build/venv-ansible-$1
mkdir -p build
{
    echo "ansible==$1.*"
    grep -Ei '^(hypothesis|jsonschema|kubernetes|kubernetes-validate|pytest|pytest-xdist|PyYAML|redis)==' requirements/test.txt
} >"$venv.txt"
python=$(sh "$here/find_python.sh" "$low" "$high")
if [ ! -x "$venv/bin/python" ]; then "$python" -m venv "$venv"; fi
"$venv/bin/python" -m pip install -qq --disable-pip-version-check -r "$venv.txt"
"$venv/bin/python" -c "import ansible.release; print('ansible-core', ansible.release.__version__)"
failed=0
VENV_TEST=$venv "$venv/bin/python" -m tests.checks.run_checks unit || failed=1
"$venv/bin/python" -m tests.sanity.run "$venv" || failed=1
exit $failed
