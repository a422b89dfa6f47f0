#!/usr/bin/env bash
# Runs a command beside one Kafka broker and one PostgreSQL server, and stops both whatever becomes of it. The command
# finds them by POSTRIDER_TEST_KAFKA (HOST:PORT) and POSTRIDER_TEST_POSTGRES (a URL); one that is set already is used
# as it is. POSTRIDER_TEST_KAFKA_JARS tells tests that start brokers of their own where the jars are, and
# POSTRIDER_TEST_SERVICES is the folder in which broker.sh (kafka/) and postgres.sh (postgres/) find what was started.
#
# Everything is kept below $CARGO_TARGET_DIR, or target: kafka/ (fetched once) and services/ (removed at the end).
#
# Usage: with-services.sh COMMAND…
set -euo pipefail

[[ $# -ge 1 ]] || { echo "usage: $0 COMMAND…" >&2; exit 2; }
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$scripts/../../../target}
mkdir -p "$target/services"
target=$(cd "$target" && pwd)
# One folder for each run, so that two beside each other do not meet.
dir=$target/services/run.$$

# What a run left behind that was killed itself.
for old in "$target"/services/run.*; do
    [[ -d $old ]] && ! kill -0 "${old##*.}" 2>/dev/null || continue
    "$scripts/broker.sh" stop "$old/kafka"
    "$scripts/postgres.sh" stop "$old/postgres"
    rm -rf "$old"
done

command=
stop() {
    trap '' INT TERM HUP
    if [[ -n $command ]]; then
        kill -TERM -- "-$command" 2>/dev/null || true
        wait "$command" || true
    fi
    [[ -d $dir/kafka ]] && "$scripts/broker.sh" stop "$dir/kafka"
    [[ -d $dir/postgres ]] && "$scripts/postgres.sh" stop "$dir/postgres"
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

mkdir -p "$dir"
"$scripts/kafka.sh" "$target/kafka"
export POSTRIDER_TEST_KAFKA_JARS=$target/kafka/libs
if [[ -z ${POSTRIDER_TEST_KAFKA:-} ]]; then
    mkdir "$dir/kafka"
    POSTRIDER_TEST_KAFKA=$("$scripts/broker.sh" start "$dir/kafka" "$POSTRIDER_TEST_KAFKA_JARS")
fi
if [[ -z ${POSTRIDER_TEST_POSTGRES:-} ]]; then
    mkdir "$dir/postgres"
    POSTRIDER_TEST_POSTGRES=$("$scripts/postgres.sh" start "$dir/postgres")
fi
export POSTRIDER_TEST_KAFKA POSTRIDER_TEST_POSTGRES POSTRIDER_TEST_SERVICES=$dir

# In a process group of its own, so that a signal to this script is heard at once and ends all of it.
set -m
"$@" </dev/null &
command=$!
set +m
status=0
wait "$command" || status=$?
command=
exit "$status"
