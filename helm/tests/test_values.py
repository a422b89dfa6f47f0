"""Every value does something: changed, it changes what Kubernetes is given, and each key of `config` what the binary runs with."""

import concurrent.futures
import functools
import json
import os
import pathlib
import shutil
import tempfile
import unittest

import chart
import pods

DEFAULTS = chart.load(chart.CHART / "values.yaml")
ALTERNATIVES = chart.load(chart.ROOT / "helm" / "tests" / "alternatives.yaml")
SCHEMA = json.loads((chart.CHART / "files" / "values.json").read_text())

# What the chart sets by itself (test_refusals.py), and with what value sets below.
BY_THE_CHART = {"data", "listen", "log.kind", "store.url", "admin.listen"} | {
    f"log.kafka.{key}" for key in ("create_topics", "ca", "certificate", "key", "key_password", "username", "password", "instance_id")
} | {"registry.snapshot", "registry.snapshot_key", "traces.headers"}
# Values of keys that are not taken from what the schema says of them.
PARTICULAR = {
    "log.kafka.brokers": "other:9094",
    "log.kafka.topic_prefix": "other.",
    "log.kafka.properties": {"client.rack": "a", "socket.timeout.ms": 30000},
    "log.kafka.queue_wait": "1s",
    "log.kafka.min_insync_replicas": 1,
    "log.kafka.partitions": 24,
    "log.kafka.protocol": "ssl",
    "logs.format": "text",  # the chart's own default is json
    "logs.level": "debug",
    "egress.allow": ["10.0.0.0/8", "fd00::/8"],
    "delivery.schedule": "0s,7s",
    "delivery.answering_share": 30,
    "delivery.disable_failing_after": "never",
    "retention.events": "never",
    "store.call_timeout": "40s",
    "traces.endpoint": "http://collector:4318",
    "traces.sampling": 0.25,
    "traces.service_name": "hooks",
}
# By which value of the chart the binary comes to have another value of a key than in the set `minimal`.
OTHERWISE = {
    "data": "single",
    "listen": "ipv6",
    "admin.listen": "ipv6",
    "log.kind": "single",
    "store.url": "single",
    "log.kafka.create_topics": "bare",
    "log.kafka.ca": "kafka-tls",
    "log.kafka.certificate": "kafka-tls",
    "log.kafka.key": "kafka-tls",
    "log.kafka.key_password": "full",
    "log.kafka.username": "kafka-sasl",
    "log.kafka.password": "kafka-sasl",
    "log.kafka.instance_id": "static",
    "registry.snapshot": "full",
    "registry.snapshot_key": "full",
    "traces.headers": "full",
}


def value_set(name):
    if name == "none":
        return {"image": {"repository": "registry.example.com/postrider"}}
    return chart.load(chart.ROOT / "helm" / "tests" / "values" / f"{name}.yaml")


@functools.lru_cache(maxsize=None)
def made(values):
    return chart.render(json.loads(values))


def make_all(sets):
    """So many at once as there are processors; `made` has them then, but for what is refused."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in [pool.submit(made, values) for values in sets]:
            done.exception()


def keys_of(schema, above=""):
    for name, below in schema["properties"].items():
        if "properties" in below:
            yield from keys_of(below, f"{above}{name}.")
        else:
            yield above + name, below


def another(key, schema):
    """A value of the key that is not its default, by the words and bounds of its schema."""
    if key in PARTICULAR:
        return PARTICULAR[key]
    default = schema["default"]
    if "enum" in schema:
        return next(value for value in schema["enum"] if value not in (default, None))
    if "boolean" in schema["type"]:
        return default == "false"
    if "integer" in schema["type"]:
        return min(int(default) + 1, schema["maximum"])
    number = default.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return f"{int(number) + 1}{default[len(number):]}" if number else "7GiB"


def worker_of(documents):
    """What the binary says that the worker, or the one process, runs with."""
    for document in chart.workloads(documents):
        template = chart.template_of(document)
        if pods.container_of(template)["args"] in (["worker"], ["serve"]):
            return pods.configuration(pods.environment(template, documents))
    raise AssertionError("no worker")


class Values(unittest.TestCase):
    def test_every_value_has_an_alternative(self):
        self.assertEqual({".".join(path) for path, _ in chart.leaves(DEFAULTS)}, set(ALTERNATIVES))

    def test_every_value_changes_what_kubernetes_is_given(self):
        pairs = {}
        for name, how in ALTERNATIVES.items():
            if how.get("files"):
                continue
            path = how.get("at", name).split(".")
            upon = value_set(how.get("upon", "minimal"))
            before = upon
            if "from" in how:
                before = chart.merged(upon, chart.at(path, how["from"]))
            elif how.get("upon") == "none":
                before = value_set("minimal")
            after = chart.merged(upon, chart.at(path, how["to"]))
            pairs[name] = (json.dumps(before), json.dumps(after))
        make_all({values for pair in pairs.values() for values in pair})
        for name, (before, after) in pairs.items():
            with self.subTest(name):
                self.assertNotEqual(made(before), made(after))

    def test_dashboards_and_alerts_are_made_of_the_files_there_are(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder) / "postrider"
            shutil.copytree(chart.CHART, copy)
            for kind, text in (
                ("dashboards/one.json", '{"title": "{{ x }}", "query": "docs/runbooks", "text": "docs/runbooks"}'),
                ("rules/one.yaml", "groups: [{name: a, rules: [{alert: A, expr: b, annotations: {runbook_url: docs/runbooks/A.md}}, {record: c, expr: d}]}]"),
            ):
                (copy / "files" / kind).write_text(text)

            def made(*settings):
                values = str(chart.ROOT / "helm" / "tests" / "values" / "minimal.yaml")
                arguments = [word for setting in settings for word in ("--set", setting)]
                return chart.helm("template", "demo", str(copy), "-f", values, *arguments)

            self.assertNotIn("demo-postrider-dashboard-one", made())
            self.assertIn('one.json: "{\\"title\\": \\"{{ x }}\\", \\"query\\": \\"docs/runbooks\\"', made("dashboards.enabled=true"))
            at = "runbooks.url=https://git.example.com/a/docs/runbooks/"
            self.assertIn(
                '{{ x }}\\", \\"query\\": \\"https://git.example.com/a/docs/runbooks\\", \\"text\\": \\"https://git.example.com/a/docs/runbooks\\"}"',
                made("dashboards.enabled=true", at),
            )
            self.assertIn("runbook_url: docs/runbooks/A.md", made("prometheusRule.enabled=true"))
            self.assertIn("runbook_url: https://git.example.com/a/docs/runbooks/A.md", made("prometheusRule.enabled=true", at))
            self.assertIn("for-grafana", made("dashboards.enabled=true", "dashboards.labels.a=for-grafana"))
            self.assertIn("folder-of-it", made("dashboards.enabled=true", "dashboards.annotations.a=folder-of-it"))
            self.assertNotIn("kind: PrometheusRule", made())
            self.assertIn("name: demo-postrider-one", made("prometheusRule.enabled=true"))
            self.assertIn("for-prometheus", made("prometheusRule.enabled=true", "prometheusRule.labels.a=for-prometheus"))


class Config(unittest.TestCase):
    maxDiff = None

    def test_every_key_of_the_configuration_reaches_the_binary(self):
        keys = dict(keys_of(SCHEMA["$defs"]["config"]))
        reached = set()
        # What does something in one mode alone is refused in the other.
        for name, mode in (("minimal", "distributed"), ("single", "single")):
            before = worker_of(chart.render(value_set(name)))
            self.assertEqual(set(keys), set(before), "make helm-generate brings the schema up to date")
            given, changed = value_set(name), set()
            for key, schema in keys.items():
                if key not in BY_THE_CHART and schema.get("x-mode", mode) == mode:
                    given = chart.merged(given, chart.at(["config", *key.split(".")], another(key, schema)))
                    changed.add(key)
            after = worker_of(chart.render(given))
            self.assertEqual({key for key in before if before[key] != after[key]}, changed, mode)
            reached |= changed
        self.assertEqual(set(keys) - reached, BY_THE_CHART)

    def test_what_the_chart_sets_by_itself_reaches_the_binary(self):
        self.assertEqual(set(OTHERWISE), BY_THE_CHART)
        before = worker_of(chart.render(value_set("minimal")))
        for key, name in OTHERWISE.items():
            self.assertNotEqual(before[key], worker_of(chart.render(value_set(name)))[key], key)

    def test_a_role_has_its_own_configuration_and_the_others_do_not(self):
        given = value_set("minimal")
        keys = dict(keys_of(SCHEMA["$defs"]["configOfRole"]))
        for key, schema in keys.items():
            given = chart.merged(given, chart.at(["roles", "worker", "config", *key.split(".")], another(key, schema)))
        documents, before = chart.render(given), worker_of(chart.render(value_set("minimal")))
        after = worker_of(documents)
        self.assertEqual({key for key in before if before[key] != after[key]}, set(keys))
        for document in chart.workloads(documents):
            template = chart.template_of(document)
            if pods.container_of(template)["args"] == ["fanout"]:
                self.assertEqual(pods.configuration(pods.environment(template, documents)), before)

    def test_what_is_written_without_a_value_is_left_at_its_default(self):
        nothing = {
            "config": {"store": None, "delivery": {"timeout": None}, "logs": {"level": None}},
            "roles": {
                "pump": None,
                "api": {"config": {"store": {"max_connections": None}}, "resources": None},
                "worker": {"topologySpreadConstraints": None, "terminationGracePeriodSeconds": None},
            },
        }
        documents = chart.render(chart.merged(value_set("minimal"), nothing))
        self.assertEqual(worker_of(documents), worker_of(chart.render(value_set("minimal"))))

    def test_a_role_takes_back_what_all_have(self):
        all_have = {
            "pod": {"preStopSeconds": 9, "staticMembership": True, "config": {"delivery": {"answering_share": 30}}},
            "roles": {
                **{name: {"staticMembership": False} for name in ("ingest", "api", "fanout")},
                "worker": {"config": {"delivery": {"answering_share": 0}}},
            },
        }
        all_have["roles"]["ingest"]["preStopSeconds"] = 0
        documents = chart.render(chart.merged(value_set("minimal"), all_have))
        found = {chart.kind_and_name(document): document for document in documents}
        self.assertIn(("Deployment", "demo-postrider-fanout"), found)
        self.assertIn(("StatefulSet", "demo-postrider-pump"), found)
        self.assertNotIn("lifecycle", pods.container_of(chart.template_of(found["Deployment", "demo-postrider-ingest"])))
        self.assertIn("lifecycle", pods.container_of(chart.template_of(found["Deployment", "demo-postrider-api"])))
        self.assertEqual(worker_of(documents)["delivery.answering_share"], 0)


class Notes(unittest.TestCase):
    def notes(self, name, *settings):
        values = str(chart.ROOT / "helm" / "tests" / "values" / f"{name}.yaml")
        arguments = [word for setting in settings for word in ("--set", setting)]
        told = chart.helm("install", "demo", str(chart.CHART), "-n", "events", "--dry-run=client", "-f", values, *arguments)
        return told.split("NOTES:")[1]

    def test_whoever_has_no_monitoring_is_told_where_to_read_of_it(self):
        self.assertIn("serviceMonitor and prometheusRule are off", self.notes("minimal"))
        self.assertIn("prometheusRule is off", self.notes("single-exposed"))
        self.assertIn("## Watch it", (chart.CHART / "README.md").read_text())
        watched = self.notes("full")
        self.assertNotIn("Nobody is told", watched)
        self.assertIn('job="events/demo-postrider"', watched)
        self.assertIn("https://git.example.com/postrider/docs/runbooks", watched)

    def test_who_scales_by_prometheus_without_a_monitor_is_told_what_it_must_have(self):
        self.assertIn("fanout, recorder, worker scale by what Prometheus says", self.notes("keda", "serviceMonitor.enabled=false"))
        self.assertNotIn("scale by what", self.notes("keda"))

    def test_every_way_to_the_api_is_named(self):
        self.assertIn("http://127.0.0.1:8071", self.notes("minimal"))
        told = self.notes("full")
        for address in ("https://postrider.example.com", "https://events.example.com", "your Gateway: postrider.example.com"):
            self.assertIn(address, told)

    def test_what_becomes_of_the_volume_is_said(self):
        self.assertIn("stays when the release is removed", self.notes("single"))
        self.assertIn("goes when the release is removed", self.notes("single", "single.volume.whenDeleted=Delete"))
        self.assertIn("that of the claim postrider-data", self.notes("single-exposed"))


class Connections(unittest.TestCase):
    """To PostgreSQL, of which a server takes a hundred if nobody said otherwise."""

    def sums(self, values):
        documents = chart.render(values)
        scaled = {document["spec"]["scaleTargetRef"]["name"]: document["spec"] for document in documents if document["kind"] == "HorizontalPodAutoscaler"}
        fewest = most = 0
        for document in chart.workloads(documents):
            variables = pods.environment(chart.template_of(document), documents)
            if document["kind"] != "Job" and "POSTRIDER__STORE__URL" in variables:
                each = int(pods.configuration(variables)["store.max_connections"])
                spec = scaled.get(document["metadata"]["name"])
                fewest += each * (spec["minReplicas"] if spec else document["spec"]["replicas"])
                most += each * (spec["maxReplicas"] if spec else document["spec"]["replicas"])
        return fewest, most

    def test_the_default_chart_fits_a_default_server_and_says_how_many_it_opens(self):
        fewest, most = self.sums(value_set("minimal"))
        self.assertLess(fewest, 90)
        values = str(chart.ROOT / "helm" / "tests" / "values" / "minimal.yaml")
        notes = chart.helm("install", "demo", str(chart.CHART), "--dry-run=client", "-f", values)
        self.assertIn(f"{fewest} connections to PostgreSQL at the fewest replicas, {most} at the most", notes)
        self.assertIn(f"{fewest} connections at the fewest replicas, {most} at the most", (chart.CHART / "README.md").read_text())
        self.assertIn(f"postrider doctor --connections {most}", notes)

    def test_a_number_in_config_counts_for_every_role_but_those_that_say_otherwise(self):
        given = chart.merged(value_set("minimal"), {"config": {"store": {"max_connections": 2}}})
        self.assertEqual(self.sums(given)[0], 2 * 2 * 6)
        given = chart.merged(given, {"roles": {"api": {"config": {"store": {"max_connections": 10}}}}})
        self.assertEqual(self.sums(given)[0], 2 * (2 * 5 + 10))


if __name__ == "__main__":
    unittest.main()
