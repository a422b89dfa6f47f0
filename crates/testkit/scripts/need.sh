# For scripts that install what tests need; to be sourced. Before it is used, `dir` is where logs go, `who` names the script
# in what it says, and `whose` the tests that need it.

# need WHAT PACKAGES CHECK…: makes sure that CHECK succeeds, if need be by apt.
need() {
    local what=$1 packages=$2
    shift 2
    "$@" >/dev/null 2>&1 && return
    if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        echo "$who: installing $packages" >&2
        # shellcheck disable=SC2086,SC2154 # several packages, divided by blanks; dir is the caller's
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y $packages; } >"$dir/apt.log" 2>&1 || true
        hash -r
        "$@" >/dev/null 2>&1 && return
        echo "$who: apt could not install $packages; it said:" >&2
        tail -n 5 "$dir/apt.log" >&2
    fi
    echo "$who: $whose need $what, which is not here." >&2
    echo "  Get it with: sudo apt-get install $packages (or your system's like)" >&2
    exit 1
}

can_make_venvs() { python3 -c 'import venv, ensurepip'; }

# quietly LOG COMMAND…: shows what a command said only if it failed.
quietly() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 && return
    echo "$who: failed: $*" >&2
    tail -n 20 "$log" >&2
    exit 1
}
