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
if [[ $# -gt 0 ]]; then
    exec "${POSTRIDER_TEST_HELM:?}/python/bin/python" -m unittest "$@"
fi
exec "${POSTRIDER_TEST_HELM:?}/python/bin/python" -m unittest discover -s . -p 'test_*.py'
