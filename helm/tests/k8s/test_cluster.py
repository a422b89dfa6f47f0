"""The chart on a real control plane: admitted, installed, upgraded, run by hand, removed."""

import contextlib
import copy
import json
import os
import pathlib
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import yaml

import chart
import pods
import runbooks
from cluster import Reaper, apply, eventually, everything, get, kubectl, namespace, secret
from processes import Container, database
from secured import SecuredBroker

# Installed, run by the commands of their pods, upgraded and removed; all value sets are admitted.
MAIN = ("minimal", "full", "single", "static", "bare", "keda", "gateway", "kafka-tls", "kafka-sasl")
# What a broker alone allows; no role may have more replicas than partitions.
ONE_BROKER = {"config": {"log": {"kafka": {"replication": 1, "min_insync_replicas": 1, "partitions": 8}}}}
FEWER_WORKERS = {"roles": {"worker": {"autoscaling": {"maxReplicas": 8}}}}
# What a process gives a broker that wants to know who it is, with what a stranger would say.
STRANGE = {
    "POSTRIDER__LOG__KAFKA__PASSWORD": "a-guess",
    "POSTRIDER__LOG__KAFKA__CERTIFICATE": None,
    "POSTRIDER__LOG__KAFKA__KEY": None,
    "POSTRIDER__LOG__KAFKA__KEY_PASSWORD": None,
}


def setUpModule():
    unittest.addModuleCleanup(Reaper().stop)
    for path in sorted(pathlib.Path(os.environ["POSTRIDER_TEST_CRDS"]).glob("*.yaml")):
        kubectl("apply", "--server-side", "-f", str(path))
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
    for name in ("high", "urgent"):
        kubectl("apply", "-f", "-", given={
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000,
        })
    # What a cluster's provisioner would make for a claim, of a class whose volumes can grow.
    kubectl("apply", "-f", "-", given={
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "kubernetes.io/no-provisioner",
        "metadata": {"name": "usual", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "allowVolumeExpansion": True,
    })
    kubectl("apply", "-f", "-", given={
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "one"},
        "spec": {
            "capacity": {"storage": "20Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/nowhere"},
            "storageClassName": "usual",
        },
    })


class Admission(unittest.TestCase):
    def test_every_object_of_every_value_set_is_admitted(self):
        room = namespace("admission")
        for path in chart.VALUES:
            documents = chart.render(path)
            with self.subTest(path.stem):
                for document in documents:
                    document["metadata"]["namespace"] = room
                made = [pod_of(document, room) for document in chart.workloads(documents)]
                given = {"apiVersion": "v1", "kind": "List", "items": documents + made}
                done = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", given=given)
                # Pod Security only warns of what a Deployment will make, and so does a field that is deprecated.
                self.assertNotIn("Warning", done.stderr)

    def test_a_pod_that_is_not_restricted_is_refused_here(self):
        room = namespace("restricted")
        document = copy.deepcopy(chart.workloads(chart.render(chart.VALUES[-1]))[0])
        del document["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
        done = kubectl("create", "--dry-run=server", "-f", "-", given=pod_of(document, room), check=False)
        self.assertIn("violates PodSecurity", done.stderr)


def pod_of(document, room):
    template = copy.deepcopy(chart.template_of(document))
    # A claim is mounted that its workload makes; the default account is the one that is here.
    template["spec"].pop("serviceAccountName")
    for mount in pods.container_of(template).get("volumeMounts", []):
        volumes = template["spec"].setdefault("volumes", [])
        if mount["name"] not in [volume["name"] for volume in volumes]:
            volumes.append({"name": mount["name"], "emptyDir": {}})
    template["metadata"] |= {"name": document["metadata"]["name"], "namespace": room}
    return {"apiVersion": "v1", "kind": "Pod", **template}


class Installed:
    """A release of a value set in a namespace of its own."""

    def __init__(self, name, folder, stack):
        self.name = name
        self.brokers = os.environ["POSTRIDER_TEST_KAFKA"]
        self.room = namespace(f"set-{name}")
        self.values = pathlib.Path(folder) / "values.yaml"
        given = chart.load(chart.ROOT / "helm" / "tests" / "values" / f"{name}.yaml")
        self.single = given.get("mode") == "single"
        self.secrets = copy.deepcopy(pods.SECRETS)
        if not self.single:
            self.secrets["postrider-store"]["url"] = self.secrets["database"]["uri"] = database()
            # Topics and groups of this run's own.
            own = {"config": {"log": {"kafka": {"topic_prefix": f"{name}-{os.getpid()}-{time.monotonic_ns()}."}}}}
            given = chart.merged(given, chart.merged(own, ONE_BROKER))
        if name == "full":
            given = chart.merged(given, FEWER_WORKERS)
        kafka = given.get("config", {}).get("log", {}).get("kafka", {})
        self.secured = "protocol" in kafka
        if self.secured:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="postrider-broker-"))
            broker = SecuredBroker(folder, kafka["protocol"], kafka.get("sasl_mechanism", "scram-sha-512"))
            stack.callback(broker.close)
            self.brokers = broker.address
            self.secrets |= broker.secrets(sealed="keyPassword" in given["secrets"].get("kafkaTls", {}))
        self.values.write_text(yaml.safe_dump(given))
        apply(self.room, *(secret(one, contents) for one, contents in self.secrets.items()))
        self.before = everything(self.room)

    def helm(self, verb, *arguments):
        return chart.helm(verb, chart.RELEASE, *arguments, "-n", self.room)

    def install(self, verb, *settings, more=()):
        given = [str(chart.CHART), "-f", str(self.values), "--wait", "--timeout", "5m", *more]
        return self.helm(verb, *given, *(word for setting in settings for word in ("--set", setting)))

    def hooks(self, when):
        """What is made only then: pre-install, or test."""
        text = chart.helm("get", "hooks", chart.RELEASE, "-n", self.room)
        documents = [document for document in yaml.load_all(text, chart.LOADER) if document]
        return [one for one in documents if when in one["metadata"]["annotations"]["helm.sh/hook"]]

    def manifest(self):
        text = chart.helm("get", "manifest", chart.RELEASE, "-n", self.room)
        return [document for document in yaml.load_all(text, chart.LOADER) if document]

    def live(self):
        """One pod of each role, with the objects that it names, as the API server has them."""
        found = {}
        for pod in get("pods", self.room):
            role = pod["metadata"]["labels"]["app.kubernetes.io/component"]
            if "deletionTimestamp" not in pod["metadata"]:
                found[role] = pod
        return found, get("configmaps", self.room)


class Docs(unittest.TestCase):
    def test_the_docs_have_commands_for_each_of_these_value_sets(self):
        found = [runbooks.belongs_to(line) for _, line in runbooks.written()]
        self.assertGreater(len(found), 30)
        self.assertEqual(set(found), {"minimal", "keda", "single"})
        self.assertLessEqual(set(found), set(MAIN))


class Cluster(unittest.TestCase):
    maxDiff = None

    def test_minimal(self):
        self.life_of("minimal")

    def test_full(self):
        self.life_of("full")

    def test_single(self):
        self.life_of("single")

    def test_static(self):
        self.life_of("static")

    def test_bare(self):
        self.life_of("bare")

    def test_keda(self):
        self.life_of("keda")

    def test_gateway(self):
        self.life_of("gateway")

    def test_kafka_tls(self):
        self.life_of("kafka-tls")

    def test_kafka_sasl(self):
        self.life_of("kafka-sasl")

    def life_of(self, name):
        self.assertIn(name, MAIN)
        with contextlib.ExitStack() as stack:
            release = Installed(name, stack.enter_context(tempfile.TemporaryDirectory(prefix="postrider-values-")), stack)
            release.install("install")
            self.all_is_there(release)
            self.hooks_came_first(release)
            self.selectors_find_pods(release)
            self.pods_commands_work(release, stack)
            self.commands_of_the_docs_find_what_they_name(release)
            changed = self.what_kubectl_changed_is_in_the_way_of_an_upgrade(release)
            self.an_upgrade_replaces_pods(release, ["--force-conflicts"] if changed else [])
            self.helm_s_own_test_is_made(release)
            self.nothing_is_left_behind(release)

    def all_is_there(self, release):
        there = everything(release.room)
        names = {one.rsplit("/", 1)[1] for one in there}
        for document in release.manifest():
            self.assertIn(document["metadata"]["name"], names)
            kind = document["kind"].lower()
            self.assertTrue(any(one.split("/")[0].split(".")[0] == kind for one in there), kind)

    def hooks_came_first(self, release):
        """They are gone by now; what Kubernetes noted of them is not."""
        order = []
        for event in sorted(get("events", release.room), key=lambda event: int(event["metadata"]["resourceVersion"])):
            about = event["involvedObject"]
            if about["kind"] == "Job":
                order.append((about["name"].rsplit("-", 1)[1], event["reason"]))
            elif event["reason"] in ("ScalingReplicaSet", "SuccessfulCreate") and about["kind"] in ("Deployment", "StatefulSet"):
                order.append(("pods", "made"))
        jobs = [job["metadata"]["name"].rsplit("-", 1)[1] for job in release.hooks("pre-install") if job["kind"] == "Job"]
        expected = [job for job in ("migrate", "topics") if job in jobs]
        firsts = list(dict.fromkeys(one for one, _ in order))
        self.assertEqual(firsts, [*expected, "pods"])
        for job, after in zip(expected, [*expected[1:], "pods"]):
            completed = order.index((job, "Completed"))
            self.assertLess(completed, next(at for at, (one, _) in enumerate(order) if one == after))
        self.assertFalse([job for job in get("jobs", release.room)], "hooks that succeeded are removed")

    def selectors_find_pods(self, release):
        live, _ = release.live()
        self.assertTrue(all(pod["status"]["phase"] == "Running" for pod in live.values()))
        for budget in get("poddisruptionbudgets", release.room):
            eventually(f"pods of budget {budget['metadata']['name']}", lambda: get_one("pdb", budget)["status"].get("expectedPods"))
        for scaler in get("hpa", release.room):
            def able():
                conditions = get_one("hpa", scaler)["status"].get("conditions", [])
                return any(one["type"] == "AbleToScale" and one["status"] == "True" for one in conditions)
            eventually(f"the target of {scaler['metadata']['name']}", able)
        for scaled in get("scaledobjects", release.room):
            target = scaled["spec"]["scaleTargetRef"]
            kubectl("get", target["kind"], target["name"], "-n", release.room)
        # An autoscaler may be adding pods at this moment.
        eventually("the metrics Service has all pods", lambda: services(release.room)["demo-postrider-metrics"] == {
            pod["metadata"]["name"] for pod in get("pods", release.room)
        })
        self.assertTrue(all(services(release.room).values()))
        for monitor in get("servicemonitors", release.room):
            wanted = monitor["spec"]["selector"]["matchLabels"].items()
            matched = [one for one in get("services", release.room) if wanted <= one["metadata"]["labels"].items()]
            ports = {port["name"] for one in matched for port in one["spec"]["ports"]}
            self.assertEqual([len(matched), {end["port"] for end in monitor["spec"]["endpoints"]} <= ports], [1, True])

    def commands_of_the_docs_find_what_they_name(self, release):
        here = [one for one in runbooks.written() if runbooks.belongs_to(one[1]) == release.name]
        for page, line in [*here, *runbooks.in_notes(release)]:
            with self.subTest(page, line=line):
                self.assertIsNone(runbooks.run(line, release))

    def pods_commands_work(self, release, stack):
        hooks = release.hooks("pre-install")
        for job in ("migrate", "topics"):
            for document in hooks:
                if document["kind"] == "Job" and document["metadata"]["name"].endswith(f"-{job}"):
                    container = self.container(stack, job, chart.template_of(document), hooks, release)
                    done = container.run()
                    self.assertEqual(done.returncode, 0, done.stderr)
        live, maps = release.live()
        running = {role: self.container(stack, role, pod, maps, release) for role, pod in live.items()}
        if release.secured:
            self.strangers_are_kept_out(running["worker"])
        for one in running.values():
            one.start()
        for one in running.values():
            for which in ("startupProbe", "livenessProbe", "readinessProbe"):
                one.passes(which)
        self.events_are_taken(running)
        self.helm_s_tests_pass(release, running, stack)
        for one in running.values():
            one.terminate()
        for one in running.values():
            self.assertEqual(one.ends(), 0, one.told())

    def container(self, stack, name, template, documents, release):
        pod = template["metadata"].get("name", f"{release.name}-{name}")
        container = Container(pod, template, documents, release.secrets, release.brokers)
        stack.callback(container.close)
        return container

    def strangers_are_kept_out(self, container):
        """Else the broker would not show that a pod's secrets are what it takes."""
        self.assertEqual(container.run(["topics", "check"]).returncode, 0)
        known = [name for name in STRANGE if name in container.variables]
        self.assertTrue(known)
        changed = {name: STRANGE[name] for name in known}
        variables = {name: value for name, value in (container.variables | changed).items() if value is not None}
        self.assertNotEqual(pods.run(["topics", "check"], variables, cwd=container.folder.name).returncode, 0)

    def events_are_taken(self, running):
        """As the notes of the chart say: a token by a command in a pod, and then the API."""
        first = running.get("api") or running["single"]
        command = ["token", "show"] if "single" in running else ["token", "create", "--scope", "operator"]
        done = first.run(command)
        self.assertEqual(done.returncode, 0, done.stderr)
        ask(first.url("/api/v1/app"), done.stdout.strip(), {"name": "a", "uid": "acme"})
        for role in ("api", "ingest", "single"):
            if role in running:
                event = {"eventType": "order.created", "payload": {"order": 17}}
                ask(running[role].url("/api/v1/app/acme/msg"), done.stdout.strip(), event)

    def helm_s_tests_pass(self, release, running, stack):
        _, maps = release.live()
        api = running.get("api") or running["single"]
        for document in release.hooks("test"):
            template = chart.template_of(document)
            container = self.container(stack, document["metadata"]["name"], template, maps, release)
            arguments = [
                api.url("/" + word.split("/", 3)[3]) if word.startswith("http://") else word
                for word in pods.container_of(template)["args"]
            ]
            done = container.run(arguments)
            self.assertEqual(done.returncode, 0, done.stderr + done.stdout)

    def what_kubectl_changed_is_in_the_way_of_an_upgrade(self, release):
        """As the runbooks say, which have commands that change what the chart sets in these two."""
        if release.name not in ("minimal", "keda"):
            return False
        with self.assertRaisesRegex(chart.Refused, "conflict with .*kubectl"):
            release.install("upgrade", "config.delivery.timeout=16s")
        self.assertIn("--force-conflicts", (runbooks.BOOKS / "PostriderLagGrowing.md").read_text())
        return True

    def an_upgrade_replaces_pods(self, release, more):
        before = {pod["metadata"]["uid"] for pod in get("pods", release.room)}
        roles = set(release.live()[0]) | ({"pump"} if release.name == "minimal" else set())
        release.install("upgrade", "config.delivery.timeout=17s", more=more)

        def replaced():
            now = {pod["metadata"]["uid"] for pod in get("pods", release.room)}
            return not now & before
        eventually("all pods are new ones", replaced)
        live, maps = release.live()
        self.assertEqual(set(live), roles)
        for role, pod in live.items():
            given = pods.environment(pod, maps, release.secrets)
            self.assertEqual(given["POSTRIDER__DELIVERY__TIMEOUT"], "17s", role)

    def helm_s_own_test_is_made(self, release):
        told = chart.helm("test", chart.RELEASE, "-n", release.room, "--timeout", "3m")
        self.assertEqual(told.count("Phase:          Succeeded"), 1 if release.single else 2)

    def nothing_is_left_behind(self, release):
        release.helm("uninstall", "--wait", "--timeout", "3m")
        # The volume of a single process stays, as documented.
        kept = {"persistentvolumeclaim/data-demo-postrider-0"} if release.single else set()

        def gone():
            return everything(release.room) - release.before == kept
        try:
            eventually("nothing is left", gone)
        except AssertionError:
            self.assertEqual(everything(release.room) - release.before, kept)


def services(room):
    """Each Service with the names of the pods behind it, as Kubernetes finds them."""
    found = {service["metadata"]["name"]: set() for service in get("services", room)}
    for slice_ in get("endpointslices", room):
        name = slice_["metadata"]["labels"]["kubernetes.io/service-name"]
        found[name] |= {one["targetRef"]["name"] for one in slice_.get("endpoints") or []}
    return found


def get_one(kind, found):
    meta = found["metadata"]
    return json.loads(kubectl("get", kind, meta["name"], "-n", meta["namespace"], "-o", "json").stdout)


def ask(url, token, body):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            # A process learns of tokens and applications a moment after they were made.
            if error.code not in (401, 404, 503) or time.monotonic() > deadline:
                raise AssertionError(f"{url}: {error.code} {error.read().decode()}") from error
            time.sleep(0.3)


if __name__ == "__main__":
    unittest.main()
