#!/usr/bin/env bash
# Fetches Prometheus and promtool, with which dashboards and alerts are tested: DIR/bin. They are unpacked from the
# system's package, not installed, so that no service is started. Run again it does nothing.
#
# Usage: prometheus.sh DIR
set -euo pipefail

[[ $# -eq 1 ]] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1/bin"
dir=$(cd "$1" && pwd)

works() { "$dir/bin/prometheus" --version && "$dir/bin/promtool" --version; }
works >/dev/null 2>&1 && exit 0

if command -v prometheus promtool >/dev/null; then
    ln -sf "$(command -v prometheus)" "$(command -v promtool)" "$dir/bin"
elif command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
    echo "prometheus: fetching the package prometheus" >&2
    rm -rf "$dir/fetched"
    mkdir "$dir/fetched"
    fetch() { (cd "$dir/fetched" && apt-get download prometheus); }
    {
        fetch || { apt-get update && fetch; }
        dpkg-deb -x "$dir"/fetched/prometheus_*.deb "$dir/fetched"
        mv "$dir"/fetched/usr/bin/{prometheus,promtool} "$dir/bin"
    } >"$dir/apt.log" 2>&1 || true
    rm -rf "$dir/fetched"
fi

works >/dev/null 2>&1 && exit 0
echo "prometheus: the tests of dashboards and alerts need Prometheus 2.42 or newer with promtool, which is not here." >&2
echo "            Get it with: sudo apt-get install prometheus (or put prometheus and promtool into $dir/bin)" >&2
[[ -f $dir/apt.log ]] && tail -n 5 "$dir/apt.log" >&2
exit 1
