"""Every value set: linted, valid for each Kubernetes that is meant, whole in itself, and taken by the binary."""

import functools
import json
import re
import unittest

import kubernetes_validate
from kubernetes_validate import utils

import chart
import pods

VERSIONS = ("1.30", "1.34", "1.37")
# Not Kubernetes' own: `make k8s-test` has them admitted by their definitions.
CUSTOM = {"ScaledObject", "ServiceMonitor", "PrometheusRule", "Gateway", "HTTPRoute"}

# It reads a megabyte of definitions for each object.
utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)


@functools.lru_cache(maxsize=None)
def problem(text, version):
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(str(step) for step in error.path)}: {error.message}"
    return None


@functools.lru_cache(maxsize=None)
def unknown(*arguments):
    """What the binary has against these arguments."""
    told = pods.run([*arguments, "--help"], {})
    return None if told.returncode == 0 else told.stderr


def seconds(duration):
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
    unit = duration.lstrip("0123456789")
    return int(duration[: -len(unit)]) * units[unit]


class Sets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sets = {path.stem: chart.render(path) for path in chart.VALUES}

    def each(self):
        for name, documents in self.sets.items():
            with self.subTest(name):
                yield documents

    def pods(self):
        for documents in self.each():
            for document in chart.workloads(documents):
                yield documents, document, chart.template_of(document)

    def test_there_are_twelve_at_least(self):
        self.assertGreaterEqual(len(self.sets), 12)

    def test_the_linter_has_nothing_to_say(self):
        for path in chart.VALUES:
            with self.subTest(path.stem):
                told = chart.helm("lint", "--strict", str(chart.CHART), "-f", str(path))
                self.assertNotIn("[WARNING]", told)

    def test_every_object_is_valid_for_each_version(self):
        for documents in self.each():
            for document in documents:
                if document["kind"] in CUSTOM:
                    continue
                text = json.dumps(document, sort_keys=True)
                for version in VERSIONS:
                    self.assertIsNone(problem(text, version), (version, chart.kind_and_name(document)))

    def test_no_two_objects_have_one_name_and_none_is_too_long(self):
        for documents in self.each():
            names = [chart.kind_and_name(document) for document in documents]
            self.assertEqual(len(names), len(set(names)))
            self.assertLessEqual(max(len(name) for _, name in names), 63)

    def test_pods_are_as_restricted_as_may_be(self):
        for _, _, template in self.pods():
            spec, container = template["spec"], pods.container_of(template)
            self.assertTrue(spec["securityContext"]["runAsNonRoot"])
            self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertFalse(spec["automountServiceAccountToken"])
            self.assertFalse(spec["enableServiceLinks"])
            expected = {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            self.assertEqual(container["securityContext"], expected)

    def test_whatever_selects_selects_something(self):
        for documents in self.each():
            labels = [chart.template_of(document)["metadata"]["labels"] for document in chart.workloads(documents)]
            services = [document["metadata"]["labels"] for document in documents if document["kind"] == "Service"]

            def found(selector, among):
                return any(selector.items() <= one.items() for one in among)

            for document in documents:
                spec = document.get("spec", {})
                name = chart.kind_and_name(document)
                match document["kind"]:
                    case "Service":
                        self.assertTrue(found(spec["selector"], labels), name)
                    case "PodDisruptionBudget" | "Deployment" | "StatefulSet":
                        self.assertTrue(found(spec["selector"]["matchLabels"], labels), name)
                    case "NetworkPolicy":
                        self.assertTrue(found(spec["podSelector"]["matchLabels"], labels), name)
                    case "ServiceMonitor":
                        self.assertTrue(found(spec["selector"]["matchLabels"], services), name)

    def test_whatever_is_named_is_there(self):
        for documents in self.each():
            there = {chart.kind_and_name(document) for document in documents}
            ports = {
                document["metadata"]["name"]: {name for port in document["spec"]["ports"] for name in (port["name"], port["port"])}
                for document in documents
                if document["kind"] == "Service"
            }
            for document in documents:
                spec = document.get("spec", {})
                match document["kind"]:
                    case "HorizontalPodAutoscaler" | "ScaledObject":
                        target = spec["scaleTargetRef"]
                        self.assertIn((target["kind"], target["name"]), there)
                    case "Ingress":
                        for rule in spec["rules"]:
                            for path in rule["http"]["paths"]:
                                service = path["backend"]["service"]
                                self.assertIn(service["port"]["name"], ports[service["name"]])
                    case "HTTPRoute":
                        for backend in spec["rules"][0]["backendRefs"]:
                            self.assertIn(backend["port"], ports[backend["name"]])
                    case "StatefulSet":
                        self.assertIn(spec["serviceName"], ports)

    def test_a_pod_may_take_longer_to_stop_than_its_process_does(self):
        for documents, document, template in self.pods():
            if document["kind"] == "Job":
                continue
            container = pods.container_of(template)
            effective = pods.configuration(pods.environment(template, documents))
            longest = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            role = container["args"][0]
            if role in ("api", "ingest", "serve"):
                longest += seconds(effective["http.leave"]) + seconds(effective["http.drain"])
            if role in ("worker", "serve"):
                longest += seconds(effective["delivery.drain"])
            grace = template["spec"]["terminationGracePeriodSeconds"]
            self.assertGreaterEqual(grace, longest + 30, chart.kind_and_name(document))

    def test_operating_md_says_how_long_each_role_may_take_to_stop(self):
        text = (chart.ROOT / "docs" / "operating.md").read_text()
        told = dict(re.findall(r"^\| (`[a-z`, ]+`)[^|]*\| (\d+) s \|", text, re.M))
        longest = {role: int(seconds) for roles, seconds in told.items() for role in re.findall("[a-z]+", roles)}
        for name in ("minimal", "single"):
            for document in chart.workloads(self.sets[name]):
                template = chart.template_of(document)
                container = pods.container_of(template)
                slept = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
                if document["kind"] != "Job":
                    grace = template["spec"]["terminationGracePeriodSeconds"]
                    self.assertEqual(grace - slept, longest[container["args"][0]], chart.kind_and_name(document))

    def test_who_is_scaled_has_no_number_of_replicas(self):
        for documents in self.each():
            scaled = {
                document["spec"]["scaleTargetRef"]["name"]
                for document in documents
                if document["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
            }
            for document in documents:
                if document["kind"] in ("Deployment", "StatefulSet"):
                    self.assertEqual("replicas" not in document["spec"], document["metadata"]["name"] in scaled)

    def test_prometheus_knows_each_release_by_a_name_of_its_own(self):
        monitors = [document for documents in self.each() for document in documents if document["kind"] == "ServiceMonitor"]
        for document in monitors:
            (end,) = document["spec"]["endpoints"]
            self.assertIn({"action": "replace", "targetLabel": "job", "replacement": "events/demo-postrider"}, end["relabelings"])
        self.assertTrue(monitors)

    def test_every_pod_reaches_names_whatever_port_is_behind_their_service(self):
        for documents in self.each():
            for document in documents:
                if document["kind"] == "NetworkPolicy":
                    ports = {(port["port"], port["protocol"]) for rule in document["spec"]["egress"] for port in rule.get("ports", [])}
                    self.assertLessEqual({(number, protocol) for number in (53, 5353) for protocol in ("UDP", "TCP")}, ports)

    def test_keda_takes_no_answer_for_nothing_that_waits(self):
        asked = 0
        for documents in self.each():
            for document in documents:
                if document["kind"] == "ScaledObject":
                    spec = document["spec"]
                    for trigger in spec["triggers"]:
                        if trigger["type"] == "prometheus":
                            asked += 1
                            self.assertEqual(trigger["metadata"]["ignoreNullValues"], "false")
                    if "fallback" in spec:
                        self.assertEqual(spec["fallback"]["behavior"], "currentReplicasIfHigher")
                        self.assertEqual(spec["fallback"]["replicas"], spec["minReplicaCount"])
                        self.assertIn("prometheus", [trigger["type"] for trigger in spec["triggers"]])
        self.assertGreater(asked, 0)

    def test_hooks_bring_what_they_need_and_come_before_it(self):
        for documents in self.each():
            hooks = {}
            for document in documents:
                notes = document["metadata"].get("annotations", {})
                if "pre-install" in notes.get("helm.sh/hook", ""):
                    hooks[chart.kind_and_name(document)] = int(notes["helm.sh/hook-weight"])
            for (kind, name), weight in hooks.items():
                if kind == "Job":
                    needed = [(other, f"{name.rsplit('-', 1)[0]}-setup") for other in ("ConfigMap", "ServiceAccount")]
                    self.assertTrue(all(hooks[one] < weight for one in needed), name)
            order = sorted((weight, name) for (kind, name), weight in hooks.items() if kind == "Job")
            self.assertIn([name.rsplit("-", 1)[1] for _, name in order], ([], ["migrate", "topics"]))

    def test_the_binary_takes_what_every_pod_gives_it(self):
        for documents, document, template in self.pods():
            container = pods.container_of(template)
            self.assertEqual(container["command"], ["postrider"])
            effective = pods.configuration(pods.environment(template, documents))
            ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
            if "admin" in ports:
                self.assertTrue(effective["admin.listen"].endswith(f":{ports['admin']}"))
            if "http" in ports:
                self.assertTrue(effective["listen"].endswith(f":{ports['http']}"))
            self.assertIsNone(unknown(*container["args"]), chart.kind_and_name(document))

    def test_only_those_who_need_the_store_know_its_password(self):
        for documents, document, template in self.pods():
            knows = "POSTRIDER__STORE__URL" in pods.environment(template, documents)
            role = pods.container_of(template)["args"][0]
            needs = role not in ("serve", "pump", "health") and document["metadata"]["name"].rsplit("-", 2)[-2] != "test"
            self.assertEqual(knows, needs, chart.kind_and_name(document))


if __name__ == "__main__":
    unittest.main()
