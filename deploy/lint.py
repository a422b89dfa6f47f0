#!/usr/bin/env python3
"""Checks what no Docker engine is needed for: Dockerfile by hadolint, compose.yaml by the schema of the Compose
specification, and that containers have as long to stop as docs/operating.md says that their processes take.

Usage: lint.py DIR   as crates/testkit/scripts/images.sh made it, by DIR/python/bin/python
"""

import json
import pathlib
import re
import subprocess
import sys

import jsonschema
import yaml

HERE = pathlib.Path(__file__).resolve().parent
STOP = re.compile(r"^\| (`[a-z`, ]+`)[^|]*\| (\d+) s \|", re.M)


def dockerfile(tools):
    """What the linter says; nothing if the file is right."""
    linter = [tools / "python" / "bin" / "hadolint", "--no-color", "--failure-threshold", "style", HERE / "Dockerfile"]
    done = subprocess.run(linter, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines() if done.returncode else []


def compose(tools, services):
    schema = json.loads((tools / "compose.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    for error in validator.iter_errors(services):
        yield f"compose.yaml: {'.'.join(map(str, error.path))}: {error.message}"


def graces(services):
    """Services of ours that could be killed while they stop."""
    text = (HERE.parent / "docs" / "operating.md").read_text()
    longest = {role: int(found[1]) for found in STOP.findall(text) for role in re.findall("[a-z]+", found[0])}
    for name, service in services["services"].items():
        command = service.get("command", [""])[0]
        if service["image"].startswith("postrider") and command != "topics":
            given = service["stop_grace_period"]
            if command not in longest or int(given.removesuffix("s")) < longest[command]:
                yield f"compose.yaml: {name} has {given} to stop; docs/operating.md says {longest.get(command)} s"


def main():
    tools = pathlib.Path(sys.argv[1]).resolve()
    services = yaml.safe_load((HERE / "compose.yaml").read_text())
    wrong = [*dockerfile(tools), *compose(tools, services), *graces(services)]
    print("\n".join(wrong) or "Dockerfile and compose.yaml: nothing to say")
    return 1 if wrong else 0


sys.exit(main())
