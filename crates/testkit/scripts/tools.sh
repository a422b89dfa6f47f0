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

# For the C and C++ in three dependencies: SQLite, the cryptography of rustls, and librdkafka, which speaks TLS by OpenSSL.
packages="gcc g++ make pkg-config libc6-dev libssl-dev"
can_compile() {
    command -v cc && command -v c++ && command -v make && command -v pkg-config && pkg-config --exists openssl
}
if ! can_compile >/dev/null; then
    if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        echo "tools: installing $packages" >&2
        # shellcheck disable=SC2086 # several packages, divided by blanks
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y $packages; } >/dev/null 2>&1 || true
        hash -r
    fi
    can_compile >/dev/null ||
        lack "a compiler of C and C++, or OpenSSL's headers" "Get them with: sudo apt-get install $packages"
fi

exit "$missing"
