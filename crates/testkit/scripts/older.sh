#!/usr/bin/env bash
# Builds the command as it was at a commit, for the tests that put this build in its place: DIR/postrider. Nothing is done if
# that is there already. It is compiled in a folder of its own: in a shared one cargo takes crates of two checkouts for the
# same ones.
#
# Usage: older.sh COMMIT DIR
set -euo pipefail

[[ $# -eq 2 ]] || { echo "usage: $0 COMMIT DIR" >&2; exit 2; }
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
commit=$(git -C "$root" rev-parse --verify --quiet "$1^{commit}") ||
    { echo "older: there is no commit $1 here; a shallow clone has few (git fetch --unshallow)" >&2; exit 1; }
mkdir -p "$2"
dir=$(cd "$2" && pwd)
[[ -x $dir/postrider && $(cat "$dir/commit" 2>/dev/null) == "$commit" ]] && exit 0

forget() { git -C "$root" worktree remove --force "$dir/tree" 2>/dev/null || rm -rf "$dir/tree"; }
trap forget EXIT
forget
git -C "$root" worktree prune
git -C "$root" worktree add --quiet --detach "$dir/tree" "$commit"
(cd "$dir/tree" && CARGO_TARGET_DIR=$dir/target cargo build --locked -p postrider)
cp "$dir/target/debug/postrider" "$dir/postrider"
echo "$commit" >"$dir/commit"
