"""The chart, rendered; and what an object of Kubernetes has, for the tests beside this file."""

import os
import pathlib
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "postrider"
VALUES = sorted((ROOT / "helm" / "tests" / "values").glob("*.yaml"))
RELEASE = "demo"
NAMESPACE = "events"

# PyYAML's loader in C, where it was built with it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
WORKLOADS = ("Deployment", "StatefulSet", "Job")


class Refused(Exception):
    """Helm's own words."""


def tools():
    """Where helm and kubectl are."""
    found = os.environ.get("POSTRIDER_TEST_HELM")
    if not found:
        raise SystemExit("POSTRIDER_TEST_HELM is not set: run these tests by `make helm-test`")
    return pathlib.Path(found) / "bin"


def helm(*arguments):
    done = subprocess.run([tools() / "helm", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def render(values, *more):
    """What the chart makes of values: a file, or a map."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        if isinstance(values, dict):
            yaml.safe_dump(values, file)
            file.flush()
            values = file.name
        text = helm("template", RELEASE, str(CHART), "-n", NAMESPACE, "-f", str(values), *more)
    return [document for document in yaml.load_all(text, LOADER) if document]


def load(path):
    return yaml.load(path.read_text(), LOADER)


def kind_and_name(document):
    return document["kind"], document["metadata"]["name"]


def template_of(document):
    """The pod template of a workload."""
    return document["spec"]["template"]


def workloads(documents):
    return [document for document in documents if document["kind"] in WORKLOADS]


def merged(below, above):
    """As Helm merges values: maps by key, all else replaced."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: merged(below.get(key), value) for key, value in above.items()}


def leaves(values, path=()):
    """Every value that is no map with something in it, with its path."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, values


def at(path, value):
    """A map with one leaf."""
    for key in reversed(path):
        value = {key: value}
    return value
