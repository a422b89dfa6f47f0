#!/usr/bin/env bash
# Runs the tests of the chart that need a cluster: starts one from what build.sh made, and stops it whatever becomes of
# them. To be run by with-services.sh, for the broker and the database that the pods' commands are run against.
#
# Usage: run.sh DIR [TEST…]   DIR as build.sh made it; a test such as test_cluster.Cluster.test_minimal
set -euo pipefail

[[ $# -ge 1 ]] || { echo "usage: $0 DIR [TEST…]" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(cd "$1" && pwd)
shift
run=$dir/run.$$

# What a run left behind that was killed itself.
for old in "$dir"/run.*; do
    [[ -d $old ]] && ! kill -0 "${old##*.}" 2>/dev/null && "$here/up.sh" stop "$old"
done

tests=
stop() {
    trap '' INT TERM HUP
    [[ -n $tests ]] && kill -TERM "$tests" 2>/dev/null && wait "$tests" || true
    "$here/up.sh" stop "$run"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

"$here/up.sh" start "$dir/bin" "$run"
export KUBECONFIG=$run/kubeconfig POSTRIDER_TEST_CRDS=$dir/crds PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/..
cd "$here"
[[ $# -gt 0 ]] || set -- test_changes test_cluster
"${POSTRIDER_TEST_HELM:?}/python/bin/python" -m unittest -v -f "$@" &
tests=$!
status=0
wait "$tests" || status=$?
tests=
exit "$status"
