#!/usr/bin/env bash
# The whole platform without Docker, as it runs on several machines: a Kafka broker, a PostgreSQL server, and every role
# as a process of its own, with two workers. Says where everything is and stays until Ctrl-C; then it stops all of it by
# process id, and removes what it kept.
#
# It is for trying things out: endpoints may lie on this machine, without https, and the schedule of retries is short.
# Any POSTRIDER__… variable that is set counts before that. CLUSTER_DIR says where it keeps things, which must
# be a new folder; without it, one below the system's folder for temporary files.
#
# Usage: with-services.sh cluster.sh BINARY
set -euo pipefail

[[ $# -eq 1 && -n ${POSTRIDER_TEST_SERVICES:-} ]] ||
    { echo "usage: with-services.sh $0 BINARY" >&2; exit 2; }
binary=$(realpath "$1")
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
services=$POSTRIDER_TEST_SERVICES
roles=(ingest fanout worker-1 worker-2 pump deadletter recorder api)

dir=${CLUSTER_DIR:-${TMPDIR:-/tmp}/postrider-cluster.$$}
mkdir -m 700 "$dir"
dir=$(cd "$dir" && pwd)

declare -A pid_of=()
stop() {
    trap '' INT TERM HUP
    for name in "${!pid_of[@]}"; do kill -TERM "${pid_of[$name]}" 2>/dev/null || true; done
    for name in "${!pid_of[@]}"; do wait "${pid_of[$name]}" 2>/dev/null || true; done
    rm -rf "$dir"
    echo "Everything has stopped." >&2
}
trap stop EXIT
trap 'exit 0' INT TERM HUP

# What every process is told, for further ones by hand, too.
settings() {
    cat <<SETTINGS
export POSTRIDER__LOG__KIND=kafka
export POSTRIDER__LOG__KAFKA__BROKERS=$POSTRIDER_TEST_KAFKA
export POSTRIDER__LOG__KAFKA__PARTITIONS=${POSTRIDER__LOG__KAFKA__PARTITIONS:-8}
export POSTRIDER__LOG__KAFKA__REPLICATION=${POSTRIDER__LOG__KAFKA__REPLICATION:-1}
export POSTRIDER__LOG__KAFKA__MIN_INSYNC_REPLICAS=${POSTRIDER__LOG__KAFKA__MIN_INSYNC_REPLICAS:-1}
export POSTRIDER__STORE__URL=$POSTRIDER_TEST_POSTGRES
export POSTRIDER__STORE__MAX_CONNECTIONS=${POSTRIDER__STORE__MAX_CONNECTIONS:-8}
export POSTRIDER__EGRESS__ALLOW=${POSTRIDER__EGRESS__ALLOW:-127.0.0.0/8}
export POSTRIDER__EGRESS__REQUIRE_HTTPS=${POSTRIDER__EGRESS__REQUIRE_HTTPS:-false}
export POSTRIDER__DELIVERY__SCHEDULE=${POSTRIDER__DELIVERY__SCHEDULE:-0s,2s,5s}
export POSTRIDER_TOKEN_FILE=$dir/operator.token
postrider() { $binary "\$@"; }
SETTINGS
}

# play NAME: NAME is a role, or a role with a number behind it.
play() {
    "$binary" "${1%%-*}" --listen 127.0.0.1:0 >"$dir/$1.ready" 2>"$dir/$1.log" </dev/null &
    pid_of[$1]=$!
    echo "$!" >"$dir/$1.pid"
}

url() { sed -n 's/^ready //p' "$dir/$1.ready"; }

# Until every process says that it is ready, for two minutes at most.
ready() {
    for _ in $(seq 600); do
        local waits=
        for name in "${roles[@]}"; do
            [[ -n $(url "$name") ]] && continue
            waits+=" $name"
            kill -0 "${pid_of[$name]}" 2>/dev/null || fail "$name" "has ended"
        done
        [[ -z $waits ]] && return
        sleep 0.2
    done
    fail "${waits##* }" "is not ready after two minutes"
}

fail() {
    echo "cluster: $1 $2; it said:" >&2
    tail -n 20 "$dir/$1.log" >&2
    exit 1
}

settings >"$dir/env"
# shellcheck disable=SC1091 # it was written above
. "$dir/env"
"$binary" topics apply 2>"$dir/topics.log" >&2 || fail topics "could not be created"
(umask 077 && "$binary" token create --scope operator --name cluster >"$dir/operator.token" 2>"$dir/token.log") ||
    fail token "could not be made"
for name in "${roles[@]}"; do play "$name"; done
ready

cat <<WORDS

The platform runs. Ctrl-C stops it.

  API             $(url api)
  intake          $(url ingest)      (the API takes events, too)
  broker          $POSTRIDER__LOG__KAFKA__BROKERS
  database        $POSTRIDER__STORE__URL
  operator token  $dir/operator.token
  logs, pids      $dir/*.log, *.pid

In another terminal, with the configuration and the token of this one:

  . $dir/env
  api() { curl -sS -H "Authorization: Bearer \$(cat \$POSTRIDER_TOKEN_FILE)" -H 'Content-Type: application/json' "\$@"; echo; }
  postrider listen --listen 127.0.0.1:8072 &          # a receiver
  api $(url api)/api/v1/app -d '{"name": "Acme", "uid": "acme"}'
  api $(url api)/api/v1/app/acme/endpoint -d '{"url": "http://127.0.0.1:8072/hook"}'

Publish an event over HTTP, or on the topic ${POSTRIDER__LOG__KAFKA__TOPIC_PREFIX:-postrider.}events (docs/producers.md):

  api $(url ingest)/api/v1/app/acme/msg -d '{"eventType": "order.created", "payload": {"order": 17}}'

Look at it, break it, mend it:

  postrider doctor                                     # is all as it should be?
  postrider rejected list --url $(url api)
  kill -9 \$(cat $dir/worker-1.pid)
  postrider worker --listen 127.0.0.1:0                # one more, until Ctrl-C
WORDS
# Servers that were given by their variables are somebody else's to restart.
[[ -d $services/kafka ]] && echo "  $scripts/broker.sh restart $services/kafka"
[[ -d $services/postgres ]] &&
    echo "  $scripts/postgres.sh stop $services/postgres; $scripts/postgres.sh start $services/postgres"
echo

# Stays, and says who has ended.
while [[ ${#pid_of[@]} -gt 0 ]]; do
    status=0
    # What bash itself says of a killed process is said below in better words.
    wait -n -p ended "${pid_of[@]}" 2>/dev/null || status=$?
    for name in "${!pid_of[@]}"; do
        if [[ ${pid_of[$name]} == "${ended:-}" ]]; then
            echo "$name has ended with $status ($dir/$name.log)"
            unset "pid_of[$name]"
        fi
    done
done
echo "No process is left."
