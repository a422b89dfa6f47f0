#!/usr/bin/env bash
# A PostgreSQL server for tests, on loopback and on a port that the system chose.
#
# Usage: postgres.sh start DIR [SETTING=VALUE…]   makes it in DIR if it is not there, starts it, prints its URL
#        postgres.sh stop DIR                     stops it, by the process id in its data folder
#        postgres.sh sql URL STATEMENT            carries a statement out, prints what it returns
#
# Started again in the same DIR it has the same port and data. What it acknowledges is on the disk, unless it is
# started with fsync=off, which is for tests that never lose power. Nobody needs a password: it is for tests.
set -euo pipefail

usage() { sed -n 's/^# \{0,1\}//; 4,6p' "$0" >&2; exit 2; }

# The newest server that is here.
bin_of_server() {
    local found
    found=$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1) || true
    [[ -n $found ]] && dirname "$(readlink -f "$found")"
}

need_server() {
    bin=$(bin_of_server) && return
    if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        echo "postgres: installing PostgreSQL" >&2
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y postgresql; } >/dev/null 2>&1 || true
        hash -r
        bin=$(bin_of_server) && return
    fi
    echo "postgres: the tests need a PostgreSQL server (initdb, pg_ctl; 15 or newer), which is not here." >&2
    echo "          Get it with: sudo apt-get install postgresql (or your system's like)" >&2
    exit 1
}

# The server refuses to run as root.
as_server() {
    if [[ $(id -u) -ne 0 ]]; then "$@"; else (cd / && runuser -u "$user" -- "$@"); fi
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null ||
        perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport' ||
        { echo "postgres: neither python3 nor perl is here to ask the system for a port" >&2; exit 1; }
}

make() {
    mkdir -p "$dir"
    if [[ $(id -u) -eq 0 ]]; then
        chown "$user" "$dir"
        as_server test -w "$dir" || {
            echo "postgres: user $user, as whom the server runs, cannot reach $dir: choose a folder under /tmp" >&2
            exit 1
        }
    fi
    as_server "$bin/initdb" -D "$dir/data" -A trust -U postrider -E UTF8 --locale=C --no-sync >"$dir.initdb.log" 2>&1 ||
        { cat "$dir.initdb.log" >&2; exit 1; }
    rm -f "$dir.initdb.log"
}

# run PORT: true if it takes connections.
run() {
    local options="-p $1 -c listen_addresses=127.0.0.1 -c unix_socket_directories="
    for setting in "${settings[@]}"; do options+=" -c $setting"; done
    as_server "$bin/pg_ctl" -D "$dir/data" -o "$options" -l "$dir/log" -w -t 60 start >/dev/null 2>&1 </dev/null
}

start() {
    [[ -f $dir/data/PG_VERSION ]] || make
    # Between the question for a port and the start somebody else may take it, and another is asked for. A server that
    # was killed leaves processes behind which end by themselves a moment later.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        port=$(cat "$dir/port" 2>/dev/null || free_port)
        if run "$port"; then
            echo "$port" >"$dir/port"
            echo "postgres://postrider@127.0.0.1:$port/postgres"
            return
        fi
        sleep 0.3
    done
    echo "postgres: the server does not start; it said:" >&2
    tail -n 20 "$dir/log" >&2
    exit 1
}

stop() {
    [[ -f $dir/data/postmaster.pid ]] || return 0
    as_server "$bin/pg_ctl" -D "$dir/data" -m fast -w -t 60 stop >/dev/null
}

[[ $# -ge 2 ]] || usage
need_server
user=postgres
id "$user" >/dev/null 2>&1 || user=nobody
case $1 in
start | stop)
    dir=$(realpath -m "$2")
    settings=("${@:3}")
    "$1"
    ;;
sql)
    [[ $# -eq 3 ]] || usage
    exec "$bin/psql" --no-psqlrc --quiet --tuples-only --no-align -v ON_ERROR_STOP=1 "$2" -c "$3"
    ;;
*) usage ;;
esac
