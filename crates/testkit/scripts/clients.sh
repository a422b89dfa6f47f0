#!/usr/bin/env bash
# Installs the official client libraries that the tests hold Postrider against, pinned:
#   DIR/svix1  a Python venv with svix 1.99.1, the last of the 1.x line
#   DIR/svix2  a Python venv with svix 2.9.1, and standardwebhooks 1.1.0
#   DIR/cloudevents  a Python venv with cloudevents 2.2.0 and confluent-kafka 2.16.1
#   DIR/yaml   a Python venv with PyYAML 6.0.3
#   DIR/node   a node folder with standardwebhooks 1.1.1
# Run again it does nothing, unless this script or the interpreters have changed.
#
# Usage: clients.sh DIR
set -euo pipefail

[[ $# -eq 1 ]] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)

who=clients
whose="the acceptance tests"
# shellcheck source=need.sh
source "$(dirname "${BASH_SOURCE[0]}")/need.sh"

has_node() { command -v node && command -v npm; }

need "Python 3 with venv and pip" "python3 python3-venv" can_make_venvs
need "Node.js with npm" "nodejs npm" has_node

stamp=$({ cat "${BASH_SOURCE[0]}"; python3 --version; node --version; } | sha256sum | cut -d' ' -f1)
[[ -f $dir/stamp && $(<"$dir/stamp") == "$stamp" ]] && exit 0

# venv NAME REQUIREMENT…
venv() {
    local name=$1
    shift
    echo "clients: $dir/$name: $*" >&2
    quietly "$dir/$name.log" python3 -m venv --clear "$dir/$name"
    quietly "$dir/$name.log" "$dir/$name/bin/python" -m pip install --disable-pip-version-check --no-input "$@"
}

rm -f "$dir/stamp"
venv svix1 svix==1.99.1
venv svix2 svix==2.9.1 standardwebhooks==1.1.0
venv cloudevents cloudevents==2.2.0 confluent-kafka==2.16.1
venv yaml pyyaml==6.0.3

echo "clients: $dir/node: standardwebhooks@1.1.1" >&2
rm -rf "$dir/node"
mkdir "$dir/node"
echo '{ "private": true }' >"$dir/node/package.json"
quietly "$dir/node.log" npm install --prefix "$dir/node" --no-audit --no-fund --save-exact standardwebhooks@1.1.1

# Written last: an installation that was cut off is begun again.
echo "$stamp" >"$dir/stamp"
