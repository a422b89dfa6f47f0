#!/usr/bin/env bash
# Runs the tests of the chart that need no cluster, by what crates/testkit/scripts/helm.sh installed. POSTRIDER_TEST_HELM is
# where that is, POSTRIDER_TEST_BINARY the postrider command that the chart is held against. With UPDATE=1 golden files are
# written instead of compared.
#
# Usage: run.sh [TEST…]   such as test_sets.Sets
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
../generate.py --check
export PYTHONDONTWRITEBYTECODE=1
export PYTHON=${POSTRIDER_TEST_HELM:?}/python/bin/python
if [[ $# -gt 0 ]]; then
    exec "$PYTHON" -m unittest "$@"
fi
# Side by side: nearly all of the time goes into programs that are started one after the other. What each says is told when
# it has ended.
printf '%s\n' test_*.py | xargs -P "$(nproc)" -I FILE bash -c '
    status=0
    said=$("$PYTHON" -m unittest "$1" 2>&1) || status=$?
    printf "%s: %s\n" "$1" "$said"
    exit "$status"' run.sh FILE
