"""The lines with kubectl in the docs, run as they stand there against a release, with the names that this one has."""

import re
import shlex
import subprocess

import chart
import pods
from cluster import eventually, get, kubectl

BOOKS = chart.ROOT / "docs" / "runbooks"
PAGES = [*sorted(BOOKS.glob("*.md")), chart.ROOT / "docs" / "operating.md", chart.CHART / "README.md"]
# In words, in a table or in brackets; or a line of its own.
WRITTEN = re.compile(r"`(kubectl [^`]+)`|\$\((kubectl [^)]+)\)|^ {4}(kubectl .+)$", re.MULTILINE)

# What only some value sets have; all else is run against this one.
USUAL = "minimal"
ONLY_IN = {"scaledobject": "keda", "pvc": "single", "token show": "single"}
# Of something that is not the chart's, is there before it or only while its Job fails, or no whole command.
NOT_OURS = ("prometheus-operated", "get prometheus ", "create secret ", "logs job/", "…")

# These end at the kubelet, of which there is none here: that the API server tried to reach it means that names, selectors,
# ports and containers were found.
BY_THE_KUBELET = {"logs", "exec", "port-forward"}
NO_KUBELET = re.compile(r"no preferred addresses found|dial tcp|connection refused")


def written():
    """(page, line) of every one that is a command, and not only the name of one, as `kubectl scale`."""
    for page in PAGES:
        for found in WRITTEN.finditer(page.read_text()):
            line = next(one for one in found.groups() if one)
            if len(line.split()) > 3 and not any(word in line for word in NOT_OURS):
                yield page.name, line


def in_notes(release):
    """Those that Helm prints, which have this release's own names."""
    text = chart.helm("get", "notes", chart.RELEASE, "-n", release.room)
    return [("NOTES.txt", line.strip()) for line in text.splitlines() if line.startswith("    kubectl ")]


def belongs_to(line):
    return next((name for word, name in ONLY_IN.items() if word in line), USUAL)


def filled_in(line, release):
    """The words of kubectl itself, without what the shell does with its output."""
    name = f"{chart.RELEASE}-postrider"
    line = line.replace("$NS", release.room).replace("$TOKEN", "pr_none").replace("$R-ROLE", f"{name}-worker").replace("$R", name)
    # The chart's README calls the release postrider, and names no namespace.
    line = re.sub(r"(exec |deploy/)postrider-", rf"\g<1>{name}-", line)
    line = re.sub(r"\bTOK\b", "tok_" + 26 * "0", line)
    if re.search(r"\bPOD\b", line):
        line = re.sub(r"\bPOD\b", a_worker(release), line)
    words = shlex.split(line, comments=True)[1:]
    for sign in ("|", ">", "&"):
        words = words[: words.index(sign)] if sign in words else words
    return words if "-n" in words else ["-n", release.room, *words]


def a_worker(release):
    def found():
        label = "app.kubernetes.io/component"
        return [
            pod["metadata"]["name"] for pod in get("pods", release.room)
            if pod["metadata"]["labels"].get(label) == "worker" and "deletionTimestamp" not in pod["metadata"]
            and pod["status"].get("phase") == "Running"
        ]
    return eventually("a worker runs", found)[0]


def run(line, release):
    """None if it does what it is for, and otherwise why not."""
    words = filled_in(line, release)
    verb = next(word for word in words if word not in ("-n", release.room))
    ours = words[words.index("--") + 1 :] if "--" in words else []
    if ours:
        done = pods.run([*ours[1:], "--help"], {})
        if ours[0] != "postrider" or done.returncode != 0:
            return f"{ours}: {done.stderr}"
    try:
        done = kubectl(*words, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return "it does not end"
    if verb in BY_THE_KUBELET and done.returncode != 0:
        return None if NO_KUBELET.search(done.stderr) else done.stderr
    if done.returncode != 0:
        return done.stderr
    return None if done.stdout.strip() else f"nothing is printed: {done.stderr}"
