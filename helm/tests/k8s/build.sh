#!/usr/bin/env bash
# Builds what `make k8s-test` runs: a Kubernetes control plane (API server, controller manager, scheduler), kwok, whose nodes
# only seem to run pods, and the definitions of the custom resources that the chart makes. All from Go modules, pinned.
# About ten minutes on two cores and 350 MB; what Go keeps of the build is removed. Run again it does nothing, unless this
# script has changed. Needs Go; etcd it installs by apt.
#
# Usage: build.sh DIR   makes DIR/bin and DIR/crds
set -euo pipefail

kubernetes=1.34.2
kwok=v0.7.0
keda=v2.18.3
gateway=v1.4.1
operator=v0.87.0
generator=v0.19.0

[[ $# -eq 1 ]] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)

command -v go >/dev/null || { echo "k8s: needs Go 1.24 or newer (https://go.dev/dl)" >&2; exit 1; }
if ! command -v etcd >/dev/null; then
    if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        echo "k8s: installing etcd-server" >&2
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y etcd-server; } >"$dir/apt.log" 2>&1 || true
        hash -r
    fi
    command -v etcd >/dev/null || { echo "k8s: needs etcd: sudo apt-get install etcd-server" >&2; exit 1; }
fi

# A part that is there is not built again when another one's version changes.
mkdir -p "$dir/bin" "$dir/crds"
work=$(mktemp -d)
export GOCACHE=$work/cache GOFLAGS=-mod=mod CGO_ENABLED=0
clean() { chmod -R u+w "$work" && rm -rf "$work"; }
trap clean EXIT

# Where Go keeps the source of a module.
module() { (cd "$work" && go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'); }

control_plane() {
    local source
    source=$(module "k8s.io/kubernetes@v$kubernetes")
    mkdir -p "$work/plane"
    cd "$work/plane"
    {
        echo 'module controlplane'
        grep -E '^go ' "$source/go.mod"
        grep -E '^godebug' "$source/go.mod" || true
        echo "require k8s.io/kubernetes v$kubernetes"
        # Its own modules are in that repository, and published one by one as v0.MINOR.PATCH.
        grep -oE '^\s+k8s\.io/[a-z-]+ v0\.0\.0($|\s)' "$source/go.mod" | awk '{print $1}' | sort -u |
            while read -r name; do echo "replace $name => $name v0.${kubernetes#1.}"; done
    } >go.mod
    printf 'package tools\nimport (\n%s\n)\n' "$(printf ' _ "k8s.io/kubernetes/cmd/%s/app"\n' \
        kube-apiserver kube-controller-manager kube-scheduler)" >tools.go
    go mod tidy
    local minor=${kubernetes#1.}
    local version=k8s.io/component-base/version
    local flags="-s -w -X $version.gitVersion=v$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=${minor%.*}"
    for part in kube-apiserver kube-controller-manager kube-scheduler; do
        go build -ldflags "$flags" -o "$dir/bin/$part" "k8s.io/kubernetes/cmd/$part"
    done
}

custom_resources() {
    rm -f "$dir"/crds/*
    cp "$(module "github.com/kedacore/keda/v2@$keda")"/config/crd/bases/keda.sh_{scaledobjects,triggerauthentications}.yaml "$dir/crds/"
    cp "$(module "sigs.k8s.io/gateway-api@$gateway")"/config/crd/standard/gateway.networking.k8s.io_{gatewayclasses,gateways,httproutes}.yaml "$dir/crds/"
    cp -r "$(module "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring@$operator")" "$work/operator"
    chmod -R u+w "$work/operator" "$dir/crds"
    GOBIN="$work/bin" go install "sigs.k8s.io/controller-tools/cmd/controller-gen@$generator"
    (cd "$work/operator" && "$work/bin/controller-gen" crd:crdVersions=v1 paths=./v1/. output:crd:dir="$work/generated")
    cp "$work"/generated/monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml "$dir/crds/"
}

# part NAME VERSIONS WORDS FUNCTION
part() {
    local name=$1 stamp=$2
    [[ -f $dir/$name.stamp && $(<"$dir/$name.stamp") == "$stamp" ]] && return
    echo "k8s: building $3" >&2
    # Not as the condition of an `if`, in which bash would go on after a failure.
    "$4" >"$dir/$name.log" 2>&1 &
    local status=0
    wait $! || status=$?
    if [[ $status -ne 0 ]]; then
        echo "k8s: failed; it said:" >&2
        tail -n 20 "$dir/$name.log" >&2
        exit 1
    fi
    # Written last: what was cut off is begun again.
    echo "$stamp" >"$dir/$name.stamp"
}

install_kwok() { GOBIN="$dir/bin" go install "sigs.k8s.io/kwok/cmd/kwok@$kwok"; }

part plane "$kubernetes" "a Kubernetes control plane: about ten minutes on two cores" control_plane
part kwok "$kwok" "kwok" install_kwok
part crds "$keda $gateway $operator $generator" "the definitions of custom resources" custom_resources
