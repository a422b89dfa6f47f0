#!/usr/bin/env bash
# One Kafka broker on loopback, on ports that the system chooses.
#
# Usage: broker.sh start DIR JARS   starts it with its data in DIR, which is wiped, from the jars in JARS (kafka.sh);
#                                   prints HOST:PORT once it takes connections
#        broker.sh restart DIR      ends it as an operator does, starts it again on the same port and data
#        broker.sh stop DIR         ends it, and removes its data
set -euo pipefail

templates=$(cd "$(dirname "${BASH_SOURCE[0]}")/../kafka" && pwd)

usage() {
    sed -n '/^# Usage/,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

fail() {
    echo "broker: $1; it said:" >&2
    tail -n 20 "$dir/broker.log" >&2
    exit 1
}

start() {
    local libs=$1 port controller
    command -v python3 >/dev/null || { echo "broker: needs python3 to ask the system for free ports" >&2; exit 1; }
    rm -rf "$dir"
    mkdir -p "$dir"
    read -r port controller < <(python3 -c '
import socket
held = [socket.socket() for _ in range(2)]
for s in held: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in held])')
    sed -e "s|@NODE@|1|; s|@PORT@|$port|; s|@CONTROLLER@|$controller|; s|@DATA@|$dir/data|" \
        -e "s|@VOTERS@|1@127.0.0.1:$controller|; s|@REPLICATION@|1|; s|@MIN_ISR@|1|" \
        "$templates/server.properties" >"$dir/server.properties"
    # It is alone: nobody takes over from it, and on a machine that is short of time it must not fence itself. Where a
    # partition has no leader for a moment, librdkafka 2.12 may never write to it again (docs/decisions.md).
    echo "broker.session.timeout.ms=30000" >>"$dir/server.properties"
    echo "127.0.0.1:$port" >"$dir/address"
    echo "$libs" >"$dir/jars"
    # Any identifier will do: nothing else ever joins this cluster.
    java_of_jars
    "${java[@]}" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qg -c "$dir/server.properties" \
        >"$dir/broker.log" 2>&1 || fail "the data directory could not be prepared"
    run
}

java_of_jars() {
    java=(java -Xms256m -Xmx512m -XX:TieredStopAtLevel=1
        "-Dlog4j2.configurationFile=$templates/log4j2.properties" -cp "$(<"$dir/jars")/*")
}

run() {
    # In a session of its own, so that Ctrl-C ends it only after what uses it.
    setsid "${java[@]}" kafka.Kafka "$dir/server.properties" >"$dir/broker.log" 2>&1 </dev/null &
    local pid=$!
    echo "$pid" >"$dir/pid"
    for _ in $(seq 600); do
        grep -q 'Kafka Server started' "$dir/broker.log" && { cat "$dir/address"; return; }
        kill -0 "$pid" 2>/dev/null || fail "Kafka ended at once"
        sleep 0.1
    done
    kill -9 "$pid"
    fail "Kafka did not start within a minute"
}

restart() {
    local pid
    pid=$(<"$dir/pid")
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq 600); do
        kill -0 "$pid" 2>/dev/null || { java_of_jars; run; return; }
        sleep 0.1
    done
    fail "the broker did not end within a minute"
}

# Its data go with it, so there is nothing to wait for.
stop() {
    if [[ -f $dir/pid ]]; then
        kill -9 "$(<"$dir/pid")" 2>/dev/null || true
    fi
    rm -rf "$dir"
}

[[ $# -ge 2 ]] || usage
mkdir -p "$2"
dir=$(cd "$2" && pwd)
case "$1-$#" in
    start-3) start "$(cd "$3" && pwd)" ;;
    restart-2) restart ;;
    stop-2) stop ;;
    *) usage ;;
esac
