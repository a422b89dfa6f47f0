"""What a container is started with: read from a pod template and the objects that it names, as a kubelet does."""

import functools
import json
import os
import pathlib
import subprocess

# What the Secrets hold that value sets name. Whoever runs the real thing gives the real servers instead.
SECRETS = {
    "postrider-store": {"url": "postgres://postrider:secret@db:5432/postrider"},
    "database": {"uri": "postgres://postrider:secret@db:6432/postrider"},
    "traces": {"headers": "authorization=Bearer secret", "other": "x-key=secret"},
    "collector": {"headers": "x-key=secret"},
    "kept": {"seal": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "other": "OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg="},
    "kafka-user": {"username": "alice", "password": "secret", "user": "alice", "pass": "secret"},
    "kafka-tls": {"ca.crt": "ca", "tls.crt": "certificate", "tls.key": "key", "password": "secret"},
}


def binary():
    found = os.environ.get("POSTRIDER_TEST_BINARY")
    if not found or not os.access(found, os.X_OK):
        raise SystemExit(f"POSTRIDER_TEST_BINARY is {found!r}, which is no program: run these tests by `make helm-test`")
    return found


def container_of(template):
    (container,) = template["spec"]["containers"]
    return container


def environment(template, documents, secrets=None, pod="a-pod-0"):
    """The variables of its one container."""
    secrets = SECRETS if secrets is None else secrets
    container = container_of(template)
    maps = {document["metadata"]["name"]: document["data"] for document in documents if document["kind"] == "ConfigMap"}
    variables = {}
    for source in container.get("envFrom", []):
        variables |= maps[source["configMapRef"]["name"]]
    for variable in container.get("env", []):
        if "value" in variable:
            variables[variable["name"]] = variable["value"]
            continue
        source = variable["valueFrom"]
        if "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            variables[variable["name"]] = secrets[reference["name"]][reference["key"]]
        else:
            assert source["fieldRef"]["fieldPath"] == "metadata.name", source
            variables[variable["name"]] = pod
    return variables


def mounted(template, folder, secrets=None):
    """Writes what is mounted of Secrets below `folder`, and returns each mount's path with the folder that stands for it."""
    secrets = SECRETS if secrets is None else secrets
    volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
    places = {}
    for mount in container_of(template).get("volumeMounts", []):
        place = pathlib.Path(folder) / mount["mountPath"].strip("/")
        place.mkdir(parents=True, exist_ok=True)
        secret = volumes.get(mount["name"], {}).get("secret")
        for key, text in (secrets[secret["secretName"]] if secret else {}).items():
            (place / key).write_text(text)
        places[mount["mountPath"]] = str(place)
    return places


def run(arguments, variables, **more):
    """The binary as the container has it: these arguments, this environment, and nothing else of ours."""
    return subprocess.run(
        [binary(), *arguments], env=variables, capture_output=True, text=True, check=False, timeout=60, **more
    )


def configuration(variables):
    """What the binary says it would run with."""
    return dict(_configuration(tuple(sorted(variables.items()))))


# Most pods of most value sets are given what another is given.
@functools.lru_cache(maxsize=None)
def _configuration(variables):
    done = run(["config"], dict(variables))
    assert done.returncode == 0, done.stderr
    effective, section = {}, ""
    for line in done.stdout.splitlines():
        if line.startswith("["):
            section = line.strip("[]") + "."
        elif " = " in line and not line.startswith("#"):
            name, _, value = line.partition(" = ")
            effective[section + name] = json.loads(value) if value[0] in '"-0123456789tf' else value
    return effective
