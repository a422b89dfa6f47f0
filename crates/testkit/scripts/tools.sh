#!/usr/bin/env bash
# Makes sure that what compiles Postrider is here; says how to get it where it is not.
set -euo pipefail

missing=0
lack() {
    echo "tools: $1 is missing. $2" >&2
    missing=1
}

command -v cargo >/dev/null ||
    lack "cargo" "Install Rust by rustup (https://rustup.rs); the version is in rust-toolchain.toml."

# For the C in two dependencies: SQLite, and the cryptography of rustls.
if ! command -v cc >/dev/null; then
    if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        echo "tools: installing a C compiler" >&2
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y gcc libc6-dev; } >/dev/null 2>&1 || true
        hash -r
    fi
    command -v cc >/dev/null || lack "a C compiler" "Get one with: sudo apt-get install gcc libc6-dev"
fi

exit "$missing"
