#!/usr/bin/env bash
# A Kubernetes control plane on loopback, with one node that only seems to run pods.
#
# Usage: up.sh start BIN RUN   starts it with its data in RUN, which is made; writes RUN/kubeconfig once it answers
#        up.sh stop RUN        ends it, and removes its data
set -euo pipefail

usage() { sed -n '/^# Usage/,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }

# Started in a session of its own, so that Ctrl-C ends it only after what uses it.
part() {
    local name=$1
    shift
    setsid "$@" >"$name.log" 2>&1 </dev/null &
    echo $! >"$name.pid"
}

ask() { curl -sk --max-time 5 "https://127.0.0.1:$api$1" -H "Authorization: Bearer $token" "${@:2}"; }

start() {
    local bin=$1 store peers manager scheduler
    read -r store peers api manager scheduler < <(python3 -c '
import socket
held = [socket.socket() for _ in range(5)]
for s in held: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in held])')
    token=$(openssl rand -hex 16)
    openssl genrsa -out account.key 2048 2>/dev/null
    openssl rsa -in account.key -pubout -out account.pub 2>/dev/null
    echo "$token,admin,1,\"system:masters\"" >tokens.csv
    cat >kubeconfig <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: here, cluster: {server: "https://127.0.0.1:$api", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: "$token"}}]
contexts: [{name: here, context: {cluster: here, user: admin}}]
current-context: here
CONFIG
    part etcd etcd --data-dir etcd --listen-client-urls "http://127.0.0.1:$store" \
        --advertise-client-urls "http://127.0.0.1:$store" --listen-peer-urls "http://127.0.0.1:$peers"
    # Debian's etcd (3.4) does not tell how far a watch is, which the API server's cache goes by: with it, clients learn of
    # changes minutes late, or never.
    part api "$bin/kube-apiserver" --etcd-servers="http://127.0.0.1:$store" --bind-address=127.0.0.1 \
        --secure-port="$api" --cert-dir=certificates --service-account-issuer=https://kubernetes.default.svc \
        --service-account-signing-key-file=account.key --service-account-key-file=account.pub \
        --token-auth-file=tokens.csv --authorization-mode=RBAC --service-cluster-ip-range=10.96.0.0/16 \
        --endpoint-reconciler-type=none --feature-gates=WatchList=false --watch-cache=false
    for _ in $(seq 600); do
        [[ $(ask /readyz) == ok ]] && break
        sleep 0.2
    done
    [[ $(ask /readyz) == ok ]] || { echo "k8s: the API server does not answer; it said:" >&2; tail -n 20 api.log >&2; exit 1; }
    local own=(--kubeconfig=kubeconfig --authentication-kubeconfig=kubeconfig --authorization-kubeconfig=kubeconfig
        --leader-elect=false --bind-address=127.0.0.1)
    part manager "$bin/kube-controller-manager" "${own[@]}" --secure-port="$manager" --cert-dir=manager \
        --service-account-private-key-file=account.key --node-monitor-grace-period=1h
    part scheduler "$bin/kube-scheduler" "${own[@]}" --secure-port="$scheduler"
    part kwok "$bin/kwok" --kubeconfig=kubeconfig --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake
    ask /api/v1/nodes -H 'content-type: application/yaml' --data-binary @- >/dev/null <<NODE
apiVersion: v1
kind: Node
metadata: {name: one, annotations: {kwok.x-k8s.io/node: fake}, labels: {kubernetes.io/os: linux, kubernetes.io/hostname: one}}
status: {allocatable: {cpu: "64", memory: 256Gi, pods: "500"}, capacity: {cpu: "64", memory: 256Gi, pods: "500"}}
NODE
}

# Its data go with it, so there is nothing to wait for.
stop() {
    local file
    for file in "$run"/*.pid; do
        [[ -f $file ]] && kill -9 "$(<"$file")" 2>/dev/null || true
    done
    rm -rf "$run"
}

case "${1:-}-$#" in
    start-3)
        bin=$(cd "$2" && pwd)
        mkdir -p "$3"
        cd "$3"
        start "$bin"
        ;;
    stop-2)
        run=$2
        stop
        ;;
    *) usage ;;
esac
