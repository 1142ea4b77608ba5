#!/bin/sh
# Build the collection, install the tarball beside nothing else, and show what the installed copy does. No cluster is needed.
# demo.sh <virtual environment>
set -eu
bin=$(cd "$1/bin" && pwd)
build=$(pwd)/build

# Nothing of the user's own Ansible configuration takes part.
for name in $(env | sed -n 's/^\(ANSIBLE_[A-Za-z0-9_]*\)=.*/\1/p'); do unset "$name"; done
unset PYTHONPATH KUBECONFIG || true
mkdir -p "$build/demo"
: >"$build/demo/ansible.cfg"
export ANSIBLE_CONFIG="$build/demo/ansible.cfg"
export ANSIBLE_HOME="$build/demo/home"
export ANSIBLE_COLLECTIONS_PATH="$build/collections"
export ANSIBLE_CALLBACK_RESULT_FORMAT=yaml
export ANSIBLE_LOCALHOST_WARNING=false
export ANSIBLE_INVENTORY_UNPARSED_WARNING=false
export PATH="$bin:$PATH"

# Always built anew: it takes two seconds, and the demo never shows yesterday's code.
rm -rf "$build/collections" "$build/demo/dist"
ansible-galaxy collection build --output-path "$build/demo/dist" >/dev/null
ansible-galaxy collection install "$build"/demo/dist/*.tar.gz --offline --no-deps -p "$build/collections" >/dev/null 2>"$build/demo/install.log" \
    || { cat "$build/demo/install.log" >&2; exit 1; }

rm -rf "$build/manifests" "$build/tutor-plugins"
exec "$bin/python" tests/checks/demo.py "$build"
