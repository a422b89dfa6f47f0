"""Containers run by hand: the real binary with exactly what a pod says, but for what is declared in `elsewhere`."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import pods


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def elsewhere(variables, mounts, ports, brokers):
    """The one place in which anything is replaced that a pod says: where processes listen, where servers are, and below
    which folder its mounts lie. Returns the variables, and each port that was with the one that is."""
    replaced = dict(variables)
    moved = {}
    for key, port in zip(("POSTRIDER__LISTEN", "POSTRIDER__ADMIN__LISTEN"), ports):
        moved[int(variables[key].rsplit(":", 1)[1])] = port
        replaced[key] = f"127.0.0.1:{port}"
    if "POSTRIDER__LOG__KAFKA__BROKERS" in replaced:
        replaced["POSTRIDER__LOG__KAFKA__BROKERS"] = brokers
    # The database's address lies in a Secret, which the test made with the real one.
    for key, value in replaced.items():
        for path, place in mounts.items():
            if value == path or value.startswith(path + "/"):
                replaced[key] = place + value[len(path):]
    return replaced, moved


class Container:
    """The one container of a pod, as a process."""

    def __init__(self, name, template, documents, secrets, brokers):
        self.name, self.template = name, template
        self.folder = tempfile.TemporaryDirectory(prefix="postrider-pod-")
        mounts = pods.mounted(template, self.folder.name, secrets)
        given = pods.environment(template, documents, secrets, pod=name)
        self.variables, self.ports = elsewhere(given, mounts, free_ports(2), brokers)
        self.process = None

    def container(self):
        return pods.container_of(self.template)

    def run(self, arguments=None):
        """A command that ends: the container's own, or another one in its place, as by `kubectl exec`."""
        return pods.run(arguments or self.container()["args"], self.variables, cwd=self.folder.name)

    def start(self):
        self.log = open(pathlib.Path(self.folder.name) / "stderr", "w+b")
        self.process = subprocess.Popen(
            [pods.binary(), *self.container()["args"]],
            env=self.variables, cwd=self.folder.name, stdout=subprocess.DEVNULL, stderr=self.log,
        )

    def told(self):
        self.log.seek(0)
        return self.log.read().decode()[-4000:]

    def url(self, path, port="http"):
        (number,) = (one["containerPort"] for one in self.container()["ports"] if one["name"] == port)
        return f"http://127.0.0.1:{self.ports[number]}{path}"

    def probe(self, which):
        """As a kubelet asks it: the status, or none."""
        asked = self.container()[which]["httpGet"]
        try:
            with urllib.request.urlopen(self.url(asked["path"], asked["port"]), timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def passes(self, which, deadline=120):
        until = time.monotonic() + deadline
        while self.probe(which) != 200:
            assert self.process.poll() is None, f"{self.name} ended: {self.told()}"
            assert time.monotonic() < until, f"{which} of {self.name}: {self.probe(which)}; {self.told()}"
            time.sleep(0.2)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def ends(self):
        """Its exit code, within the time that the pod has."""
        return self.process.wait(self.template["spec"]["terminationGracePeriodSeconds"])

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process:
            self.log.close()
        self.folder.cleanup()


def database():
    """A new database on the server that the tests share; its URL."""
    server = os.environ["POSTRIDER_TEST_POSTGRES"]
    name = f"k8s_{os.getpid()}_{time.monotonic_ns()}"
    script = pathlib.Path(__file__).resolve().parents[3] / "crates" / "testkit" / "scripts" / "postgres.sh"
    subprocess.run([script, "sql", server, f"CREATE DATABASE {name}"], check=True, capture_output=True)
    return re.sub(r"/[^/]*$", f"/{name}", server)
