"""What is changed of a release that runs, as docs/kubernetes.md says: pods only seem to run, and no server takes part."""

import json
import re
import shlex
import tempfile
import unittest

import yaml

import chart
from cluster import Reaper, apply, eventually, get, kubectl, namespace, secret

NAME = f"{chart.RELEASE}-postrider"
PAGE = (chart.ROOT / "docs" / "kubernetes.md").read_text()
IMAGE = {"image": {"repository": "registry.example.com/postrider"}}
KAFKA = IMAGE | {
    "config": {"log": {"kafka": {"brokers": "kafka:9092"}}},
    "secrets": {"storeUrl": {"name": "postrider-store"}},
    "setup": {"migrate": False, "topics": False},
    "pod": {"replicas": 3},
}
FIXED = {"roles": {name: {"autoscaling": {"kind": "none"}} for name in ("ingest", "fanout", "worker", "recorder", "api")}}
SCALED = {"roles": {"worker": {"autoscaling": {"kind": "hpa", "minReplicas": 2}}}}


def setUpModule():
    unittest.addModuleCleanup(Reaper().stop)
    # Whose volumes can grow, and are made by somebody else.
    kubectl("apply", "-f", "-", given={
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "kubernetes.io/no-provisioner",
        "metadata": {"name": "growing", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "allowVolumeExpansion": True,
    })
    for name in ("first", "second"):
        kubectl("apply", "-f", "-", given={
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "20Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/nowhere"},
                "storageClassName": "growing",
            },
        })


def helm(verb, room, values, *more):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        given = [str(chart.CHART), "-n", room, "-f", file.name, "--wait", "--timeout", "5m", *more]
        return chart.helm(verb, chart.RELEASE, *given)


def section(title):
    """The commands and manifests of a chapter of the page."""
    text = PAGE.split(f"\n### {title}\n")[1].split("\n##")[0]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    commands = [line for kind, block in blocks if not kind for line in block.splitlines()]
    return commands, [yaml.safe_load(block) for kind, block in blocks if kind == "yaml"]


def run(command, room):
    """A command of the page with kubectl."""
    words = shlex.split(command.replace("$NS", room).replace("$R", NAME))
    return kubectl(*words[1:])


class Replicas(unittest.TestCase):
    def replicas(self):
        (found,) = [one for one in get("deployments", self.room) if one["metadata"]["name"] == f"{NAME}-worker"]
        return found["spec"]["replicas"]

    def test_a_role_that_somebody_else_scales_from_now_on_keeps_its_replicas(self):
        self.room = namespace("scaled")
        apply(self.room, secret("postrider-store", {"url": "postgres://a:b@c/d"}))
        before = chart.merged(KAFKA, FIXED)
        helm("install", self.room, before)
        self.assertEqual(self.replicas(), 3)
        scaled = chart.merged(before, SCALED)
        # The second time the autoscaler is not new, and has still had nothing to change.
        for timeout in ("16s", "17s"):
            changed = {"config": {"delivery": {"timeout": timeout}}}
            helm("upgrade", self.room, chart.merged(scaled, changed))
            self.assertEqual(self.replicas(), 3)
        self.is_kept_under_another_name(scaled)
        # As an autoscaler does, by the same part of the API.
        kubectl("scale", "deployment", f"{NAME}-worker", "--replicas=5", "-n", self.room)
        helm("upgrade", self.room, scaled)
        self.assertEqual(self.replicas(), 5)
        told = [event["message"] for event in get("events", self.room) if event["reason"] == "ScalingReplicaSet"]
        self.assertFalse([one for one in told if "-worker-" in one and one.endswith("to 1 from 3")], told)
        chart.helm("uninstall", chart.RELEASE, "-n", self.room, "--wait")

    def is_kept_under_another_name(self, values):
        """Flux has Helm write as `helm-controller`."""
        there = kubectl("get", "deployment", f"{NAME}-worker", "-n", self.room, "-o", "json", "--show-managed-fields").stdout
        owners = json.loads(there)["metadata"]["managedFields"]
        (at,) = [n for n, one in enumerate(owners) if one["manager"] == "helm"]
        for name in ("helm-controller", "helm"):
            change = [{"op": "replace", "path": f"/metadata/managedFields/{at}/manager", "value": name}]
            kubectl("patch", "deployment", f"{NAME}-worker", "-n", self.room, "--type=json", "-p", json.dumps(change))
            said = helm("upgrade", self.room, values, "--dry-run=server")
            manifest = said.split(f"name: {NAME}-worker\n")
            self.assertTrue(any("  replicas: 3\n" in one.split("\n---")[0] for one in manifest[1:]), said)


class Volume(unittest.TestCase):
    def test_a_volume_grows_and_is_copied_and_restored_as_the_page_says(self):
        self.room = namespace("volume")
        single = IMAGE | {"mode": "single"}
        helm("install", self.room, single)
        self.grows(single)
        self.is_copied_by_a_pod_beside_it(single)

    def grows(self, single):
        (claim,) = get("pvc", self.room)
        larger = chart.merged(single, {"single": {"volume": {"size": "40Gi"}}})
        with self.assertRaisesRegex(chart.Refused, "updates to statefulset spec for fields other than"):
            helm("upgrade", self.room, larger)
        (patch, delete, upgrade), _ = section("To make it larger")
        run(patch, self.room)
        (pod,) = get("pods", self.room)
        run(delete, self.room)
        eventually("the StatefulSet is gone", lambda: not get("statefulsets", self.room))
        (there,) = get("pods", self.room)
        self.assertEqual(there["metadata"]["uid"], pod["metadata"]["uid"], "it runs on")
        self.assertIn("single.volume.size=40Gi", upgrade)
        helm("upgrade", self.room, larger)
        (made,) = get("statefulsets", self.room)
        (template,) = made["spec"]["volumeClaimTemplates"]
        self.assertEqual(template["spec"]["resources"]["requests"]["storage"], "40Gi")
        (same,) = get("pvc", self.room)
        self.assertEqual(same["metadata"]["uid"], claim["metadata"]["uid"])
        self.assertEqual(same["spec"]["resources"]["requests"]["storage"], "40Gi")
        self.assertEqual(len(eventually("its pod", lambda: get("pods", self.room))), 1)

    def is_copied_by_a_pod_beside_it(self, single):
        commands, (snapshot, copy) = section("To back it up")
        (claim,) = get("pvc", self.room)
        name = claim["metadata"]["name"]
        # The page's release is called otherwise.
        for given in (snapshot["spec"]["source"]["persistentVolumeClaimName"], copy["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]):
            self.assertEqual(given.replace("postrider-0", f"{NAME}-0"), name)
        copy["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = name
        for command in commands:
            if " apply " in command:
                apply(self.room, copy)
            elif " exec " not in command:
                run(command, self.room)
        (made,) = eventually("the process again", lambda: get("statefulsets", self.room))
        self.assertEqual(made["spec"]["replicas"], 1)

        commands, (restored,) = section("To restore it")
        copy["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = restored["metadata"]["name"]
        apply(self.room, restored, copy)
        run("kubectl -n $NS wait --for=condition=Ready pod/postrider-copy --timeout=120s", self.room)
        for command in commands:
            if command.startswith("kubectl") and " exec " not in command:
                run(command, self.room)
        self.assertIn("single.volume.existingClaim=postrider-restored", commands[-1])
        given = {"single": {"volume": {"existingClaim": "postrider-restored"}}}
        helm("upgrade", self.room, chart.merged(single, given))
        (pod,) = get("pods", self.room)
        claims = [one["persistentVolumeClaim"]["claimName"] for one in pod["spec"]["volumes"] if "persistentVolumeClaim" in one]
        self.assertEqual(claims, ["postrider-restored"])
        chart.helm("uninstall", chart.RELEASE, "-n", self.room, "--wait")


if __name__ == "__main__":
    unittest.main()
