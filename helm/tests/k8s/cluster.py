"""What is asked of the cluster, by kubectl."""

import json
import subprocess
import threading
import time

import chart

DEADLINE = 180


def kubectl(*arguments, given=None, check=True, timeout=None):
    text = json.dumps(given) if given is not None else None
    done = subprocess.run(
        [chart.tools() / "kubectl", *arguments], input=text, capture_output=True, text=True, check=False, timeout=timeout
    )
    if check and done.returncode != 0:
        raise AssertionError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr}")
    return done


def get(kind, namespace):
    return json.loads(kubectl("get", kind, "-n", namespace, "-o", "json").stdout)["items"]


def apply(namespace, *objects):
    kubectl("apply", "-n", namespace, "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": list(objects)})


def eventually(what, answer):
    """The first answer that is something; fails if there is none in time."""
    deadline = time.monotonic() + DEADLINE
    while True:
        found = answer()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {DEADLINE} s: {what}")
        time.sleep(0.3)


class Reaper:
    """kwok now and then misses that a pod is to go, and nobody else would end it: this does, after a while."""

    def __init__(self):
        self.over = threading.Event()
        self.going = {}
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over.wait(3):
            listed = kubectl("get", "pods", "-A", "-o", "json", check=False).stdout or '{"items": []}'
            metas = [pod["metadata"] for pod in json.loads(listed)["items"]]
            now = {meta["uid"]: meta for meta in metas if "deletionTimestamp" in meta}
            for uid, meta in now.items():
                if uid in self.going:
                    kubectl("delete", "pod", meta["name"], "-n", meta["namespace"], "--force", "--grace-period=0", check=False)
            self.going = now

    def stop(self):
        self.over.set()
        self.thread.join()


def namespace(name):
    """One in which only restricted pods are admitted."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": levels}})
    # Pods are refused until the account they run as by default is there.
    eventually(f"the default account of {name}", lambda: kubectl("get", "sa", "default", "-n", name, check=False).returncode == 0)
    return name


def secret(name, contents):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": contents}


# What Kubernetes puts into a namespace, or notes about it.
NOT_OURS = {"events", "events.events.k8s.io", "pods.metrics.k8s.io", "leases.coordination.k8s.io"}


def everything(namespace):
    """Every object of the namespace, as kind/name."""
    kinds = kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").stdout.split()
    asked = ",".join(kind for kind in kinds if kind not in NOT_OURS)
    return set(kubectl("get", asked, "-n", namespace, "-o", "name").stdout.split())
