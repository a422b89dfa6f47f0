"""Values that cannot work are refused before anything is sent, in words that say what to do."""

import json
import unittest

import chart

IMAGE = {"image": {"repository": "registry.example.com/postrider"}}
BASE = IMAGE | {"config": {"log": {"kafka": {"brokers": "kafka:9092"}}}, "secrets": {"storeUrl": {"name": "postrider-store"}}}
SINGLE = IMAGE | {"mode": "single"}
KEDA = {"roles": {"worker": {"autoscaling": {"kind": "keda"}}}}

# What is wrong, upon what; and words that the message must have: where, and what would be right.
REFUSED = [
    ({}, {}, ["image.repository is empty", "docker build -f deploy/Dockerfile", "config.log.kafka.brokers is empty", "--set mode=single", "secrets.storeUrl.name is empty", "kubectl create secret"]),
    (BASE, {"mode": "kafka"}, ["mode is \"kafka\"", "it takes distributed or single"]),
    (BASE, {"replicaCount": 3}, ["replicaCount is not known: did you mean pod.replicas?"]),
    (BASE, {"roles": {"workers": {}}}, ["roles.workers is not known: did you mean roles.worker?"]),
    (BASE, {"roles": {"worker": {"replica": 3}}}, ["roles.worker.replica is not known: did you mean roles.worker.replicas?"]),
    (BASE, {"config": {"delivery": {"timeouts": "15s"}}}, ["config.delivery.timeouts is not known: did you mean config.delivery.timeout?"]),
    (BASE, {"config": {"delivery": {"timeout": 15}}}, ["config.delivery.timeout is 15: it takes a duration such as 15s", "write it in quotes"]),
    (BASE, {"config": {"delivery": {"timeout": "15"}}}, ["config.delivery.timeout is \"15\": it takes a duration such as 15s (units ms, s, m, h, d), from 100ms to 10m"]),
    (BASE, {"config": {"log": {"kafka": {"fetch": "16M"}}}}, ["config.log.kafka.fetch is \"16M\": it takes a size", "from 1MiB to 4GiB"]),
    (BASE, {"config": {"log": {"kafka": {"partitions": 0}}}}, ["config.log.kafka.partitions is 0: it takes a whole number, from 1 to 10000"]),
    (BASE, {"config": {"log": {"kafka": {"protocol": "tls"}}}}, ["config.log.kafka.protocol is \"tls\": it takes plaintext, ssl, sasl_plaintext or sasl_ssl"]),
    (BASE, {"roles": {"worker": {"config": {"delivery": {"schedule": "0s"}}}}}, ["roles.worker.config.delivery.schedule is not known", "known there are answering_share, drain, in_flight"]),
    (BASE, {"config": {"store": {"url": "postgres://a:b@c/d"}}}, ["config.store.url is not set here", "secrets.storeUrl"]),
    (BASE, {"config": {"log": {"kafka": {"password": "x"}}}}, ["config.log.kafka.password is not set here", "secrets.kafkaUser"]),
    (BASE, {"config": {"log": {"kafka": {"properties": {"ssl.key.password": "hunter2"}}}}}, ["config.log.kafka.properties has ssl.key.password", "secrets.kafkaTls.keyPassword"]),
    (BASE, {"config": {"log": {"kafka": {"properties": "client.rack=a; ssl.keystore.password=hunter2"}}}}, ["config.log.kafka.properties has ssl.keystore.password", "secrets.kafkaTls"]),
    (BASE, {"roles": {"worker": {"config": {"log": {"kafka": {"properties": {"sasl.oauthbearer.client.secret": "hunter2"}}}}}}}, ["roles.worker.config.log.kafka.properties has sasl.oauthbearer.client.secret", "ConfigMap"]),
    (BASE, {"config": {"registry": {"snapshot": "/tmp/x"}}}, ["config.registry.snapshot is not set here", "secrets.snapshot"]),
    (BASE, {"config": {"registry": {"snapshot_key": "x"}}}, ["config.registry.snapshot_key is not set here", "secrets.snapshot"]),
    (BASE, {"config": {"traces": {"headers": "a=b"}}}, ["config.traces.headers is not set here", "secrets.traces"]),
    (BASE, {"config": {"traces": {"sampling": 0.1}}}, ["config.traces.endpoint empty", "--set config.traces.endpoint"]),
    (BASE, {"config": {"traces": {"sampling": 2}}}, ["config.traces.sampling is 2: it takes a share such as 0.01, from 0 to 1"]),
    (BASE, {"secrets": {"traces": {"name": "x"}}}, ["config.traces.endpoint empty"]),
    (BASE, {"config": {"listen": "0.0.0.0:80"}}, ["config.listen is not set here", "listen.port"]),
    (BASE, {"config": {"admin": {"listen": "0.0.0.0:81"}}}, ["config.admin.listen", "listen.adminPort"]),
    (BASE, {"config": {"log": {"kind": "embedded"}}}, ["config.log.kind", "mode"]),
    (BASE, {"config": {"data": "/data"}}, ["config.data", "the volume"]),
    (BASE, {"config": {"log": {"kafka": {"ca": "/ca.pem"}}}}, ["config.log.kafka.ca", "secrets.kafkaTls"]),
    (BASE, {"config": {"log": {"kafka": {"create_topics": False}}}}, ["config.log.kafka.create_topics", "setup.topics"]),
    (BASE, {"config": {"log": {"kafka": {"instance_id": "a"}}}}, ["config.log.kafka.instance_id", "staticMembership"]),
    (BASE, {"config": {"log": {"kafka": {"protocol": "sasl_ssl"}}}}, ["secrets.kafkaUser.name empty", "kubectl create secret"]),
    (BASE, {"secrets": {"kafkaUser": {"name": "x"}}}, ["secrets.kafkaUser.name is given", "sasl_ssl"]),
    (BASE, {"secrets": {"kafkaTls": {"name": "x"}}}, ["secrets.kafkaTls.name is given", "set it to ssl"]),
    (BASE, {"secrets": {"kafkaTls": {"certificate": "tls.crt"}}}, ["go together", "secrets.kafkaTls.key"]),
    (BASE, {"config": {"log": {"kafka": {"replication": 1}}}}, ["min_insync_replicas is 2", "replication 1"]),
    (BASE, {"listen": {"port": 9090}}, ["listen.port and listen.adminPort", "choose two"]),
    (BASE, {"listen": {"port": 80}}, ["listen.port is 80: it takes a whole number from 1024 to 65535"]),
    (BASE, {"roles": {"worker": {"autoscaling": {"maxReplicas": 17}}}}, ["roles.worker", "config.log.kafka.partitions is 16", "lower"]),
    (BASE, {"roles": {"pump": {"replicas": 17}}}, ["roles.pump", "lower roles.pump.replicas"]),
    (BASE, {"roles": {"api": {"autoscaling": {"minReplicas": 9}}}}, ["roles.api.autoscaling.minReplicas is 9 and maxReplicas 8"]),
    (BASE, {"roles": {"api": {"staticMembership": True}}}, ["roles.api.staticMembership", "only roles that read the log"]),
    (BASE, KEDA, ["keda.prometheus.serverAddress empty", "scale by hpa"]),
    (
        BASE | KEDA | {"keda": {"prometheus": {"serverAddress": "http://p"}}},
        {"roles": {"worker": {"autoscaling": {"metrics": [{"type": "Pods"}]}}}},
        ["roles.worker.autoscaling.metrics is for kind hpa"],
    ),
    (BASE, {"pod": {"resources": {"requests": {"cpu": None}}}}, ["resources.requests.cpu not set", "kind: none"]),
    (
        BASE | KEDA | {"keda": {"prometheus": {"serverAddress": "http://p"}}},
        {"roles": {"pump": {"autoscaling": {"kind": "keda"}, "resources": {"requests": {"cpu": None}}}}},
        ["roles.pump.autoscaling.kind is keda", "roles.pump.resources.requests.cpu not set", "kind: none"],
    ),
    (BASE, {"roles": {"worker": {"terminationGracePeriodSeconds": 30}}}, ["may take 60 s", "leave it out"]),
    (BASE | {"config": {"log": {"kafka": {"brokers": "k:9092"}}, "delivery": {"drain": "5m"}}}, {"pod": {"terminationGracePeriodSeconds": 120}}, ["roles.worker", "may take 340 s"]),
    (BASE, {"pod": {"podDisruptionBudget": {"maxUnavailable": 0}}}, ["pod.podDisruptionBudget.maxUnavailable is 0", "null for no budget", "nodes could not be drained"]),
    (BASE, {"ingress": {"enabled": True}}, ["ingress.hosts empty", "ingress.hosts.api[0]"]),
    (BASE, {"ingress": {"tls": [{"secretName": "x"}]}}, ["ingress.enabled false"]),
    (BASE, {"ingress": {"enabled": True, "hosts": {"api": ["https://a.example.com"]}}}, ["ingress.hosts.api[0] is \"https://a.example.com\": it takes a host's name", "without scheme and port"]),
    (BASE, {"gateway": {"enabled": True, "hosts": {"api": ["a.example.com"]}}}, ["there is no Gateway", "gateway.parentRefs"]),
    (BASE, {"gateway": {"parentRefs": [{"name": "a"}], "listeners": [{"name": "b"}]}}, ["either use a Gateway that exists"]),
    (BASE | {"roles": {"ingest": {"enabled": False}}}, {"ingress": {"enabled": True, "hosts": {"ingest": ["a.example.com"]}}}, ["no intake runs apart", "ingress.hosts.api"]),
    (BASE, {"single": {"volume": {"existingClaim": "a"}}}, ["single.volume.existingClaim is given and mode is distributed", "set mode: single"]),
    (BASE, {"image": {"tag": 1.1}}, ["image.tag is 1.1: it takes a tag in quotes", "--set-string"]),
    (BASE, {"image": {"digest": "sha256:12"}}, ["image.digest is \"sha256:12\": it takes sha256: and 64 of 0-9 and a-f"]),
    (BASE, {"image": {"repository": "foo:1.2"}}, ["image.repository is \"foo:1.2\": it takes a repository", "image.tag and image.digest"]),
    (BASE, {"image": {"repository": "https://registry.example.com/postrider"}}, ["image.repository", "without scheme"]),
    (BASE, {"resources": {"limits": {}}}, ["resources is not known: did you mean pod.resources, or roles.NAME.resources"]),
    (BASE, {"worker": {"replicas": 3}}, ["worker is not known: did you mean roles.worker?"]),
    (BASE, {"egress": {"allow": []}}, ["egress is not known: did you mean config.egress?"]),
    (BASE, {"image": {"repo": "x"}}, ["image.repo is not known: did you mean image.repository?"]),
    (BASE, {"config": {"delivery": {"inFlight": 9}}}, ["did you mean config.delivery.in_flight?"]),
    (BASE, {"pod": None}, ["pod is null or missing", "leave it out for its default"]),
    (BASE, {"pod": {"replicas": None}}, ["pod.replicas is null or missing: it takes a whole number", "leave it out"]),
    (BASE, {"pod": 3}, ["pod is 3: it takes a map of keys"]),
    (BASE, {"ingress": {"hosts": {"api": "a.example.com"}}}, ["ingress.hosts.api is \"a.example.com\": it takes a list"]),
    (BASE, {"pod": {"replicas": 0}}, ["pod.replicas is 0: it takes a whole number from 1 to 1000", "kubectl scale"]),
    (BASE, {"config": {"delivery": {"drain": "11m"}}}, ["config.delivery.drain is \"11m\"", "from 0s to 10m"]),
    (BASE, {"config": {"log": {"kafka": {"lease": "1h"}}}}, ["config.log.kafka.lease is \"1h\"", "from 1500ms to 1m"]),
    (BASE, {"config": {"ingest": {"max_payload": "65MiB"}}}, ["config.ingest.max_payload is \"65MiB\"", "from 1KiB to 64MiB"]),
    (BASE, {"config": {"egress": {"allow": "10.0.0.1"}}}, ["config.egress.allow is \"10.0.0.1\": it takes networks such as"]),
    (BASE, {"config": {"egress": {"allow": ["10.0.0.0/33"]}}}, ["config.egress.allow", "networks such as"]),
    (BASE, {"networkPolicy": {"private": ["10.0.0.0"]}}, ["networkPolicy.private[0] is \"10.0.0.0\"", "with a prefix length"]),
    (BASE, {"config": {"traces": {"endpoint": "collector"}}}, ["config.traces.endpoint is wrong", "an address such as http://collector:4318"]),
    (BASE, {"keda": {"prometheus": {"serverAddress": "prom:9090"}}}, ["keda.prometheus.serverAddress is \"prom:9090\"", "http://prometheus.monitoring:9090"]),
    (BASE, {"config": {"log": {"kafka": {"brokers": "http://a:9092"}}}}, ["config.log.kafka.brokers is", "brokers such as kafka-1:9092"]),
    (BASE, {"config": {"log": {"kafka": {"brokers": "a:9092,b"}}}}, ["config.log.kafka.brokers is"]),
    (BASE, {"runbooks": {"url": "docs/runbooks"}}, ["runbooks.url is \"docs/runbooks\": it takes an address such as https://"]),
    (BASE, {"config": {"logs": {"level": "verbose"}}}, ["config.logs.level is \"verbose\"", "info,postrider_delivery=debug"]),
    (BASE, {"config": {"delivery": {"schedule": "5,6"}}}, ["config.delivery.schedule is \"5,6\"", "such as 0s,5s,5m"]),
    (BASE, {"config": {"log": {"wal": "32MiB"}}}, ["config.log.wal is given and mode is distributed", "set mode: single"]),
    (BASE, {"config": {"retention": {"attempts": "1ms"}}}, ["config.retention.attempts is 1ms", "disable_failing_after 5d", "raise retention.attempts"]),
    (BASE, {"config": {"ingest": {"max_payload": "8MiB"}}}, ["config.ingest.max_payload is 8MiB and config.log.record 8MiB"]),
    (BASE, {"config": {"delivery": {"breaker_wait": "10m"}}}, ["config.delivery.breaker_longest_wait 5m"]),
    (BASE, {"roles": {"api": {"config": {"store": {"call_timeout": "5s"}}}}}, ["config.store.call_timeout is 5s"]),
    (BASE, {"config": {"log": {"kafka": {"delivery_timeout": "9s"}}}}, ["config.log.kafka.delivery_timeout 9s", "within 10s"]),
    (BASE, {"config": {"log": {"kafka": {"group_protocol": "classic", "heartbeat": "3s"}}}}, ["config.log.kafka.heartbeat is 3s"]),
    (BASE, {"single": {"replicas": 3, "volume": {"size": "1Gi"}}}, ["single.replicas, single.volume.size are given", "put it under pod"]),
    (BASE, {"roles": {"worker": {"preStopSeconds": 9}}}, ["roles.worker.preStopSeconds is given", "no balancer"]),
    (BASE, {"roles": {"worker": {"replicas": 9}}}, ["roles.worker.replicas is given", "kind is hpa", "autoscaling.minReplicas"]),
    (BASE, {"roles": {"pump": {"autoscaling": {"maxReplicas": 9}}}}, ["roles.pump.autoscaling.maxReplicas is given", "kind is none"]),
    (BASE, {"roles": {"api": {"autoscaling": {"waiting": 9}}}}, ["roles.api.autoscaling.waiting is given", "fanout, recorder and worker"]),
    (BASE, {"keda": {"prometheus": {"serverAddress": "http://p"}}}, ["keda.prometheus.serverAddress is given and no role scales by it"]),
    (BASE, {"roles": {"ingest": {"enabled": False, "resources": {"limits": {"memory": "1Gi"}}}}}, ["roles.ingest.resources.limits.memory is given", "enabled is false"]),
    (BASE, {"secrets": {"snapshot": {"key": "seal"}}}, ["secrets.snapshot.key is given", "secrets.snapshot.name is empty"]),
    (SINGLE, {"single": {"replicas": 3}}, ["single.replicas is given and mode is single", "never a second", "set mode: distributed"]),
    (SINGLE, {"pod": {"replicas": 3, "autoscaling": {"kind": "hpa"}}}, ["pod.replicas, pod.autoscaling.kind are given and mode is single"]),
    (SINGLE, {"roles": {"worker": {"replicas": 3}}}, ["roles.worker.replicas is given and mode is single", "put what it is to have under single"]),
    (SINGLE, {"setup": {"migrate": False}}, ["setup.migrate is given and mode is single"]),
    (SINGLE, {"keda": {"prometheus": {"serverAddress": "http://p"}}}, ["keda.prometheus.serverAddress is given and mode is single"]),
    (SINGLE, {"config": {"store": {"max_connections": 4}}}, ["config.store.max_connections is given and mode is single"]),
    (SINGLE, {"config": {"log": {"kafka": {"partitions": 4}}}}, ["config.log.kafka.partitions is given and mode is single"]),
    (SINGLE, {"config": {"log": {"kafka": {"properties": {"client.rack": "a"}}}}}, ["config.log.kafka.properties is given and mode is single"]),
    (SINGLE, {"config": {"log": {"kafka": {"brokers": "kafka:9092"}}}}, ["mode is single", "set mode: distributed"]),
    (SINGLE, {"secrets": {"storeUrl": {"name": "a"}}}, ["mode is single and secrets", "leave secrets out"]),
    (SINGLE, {"single": {"terminationGracePeriodSeconds": 60}}, ["single.terminationGracePeriodSeconds is 60", "may take 101 s"]),
    (SINGLE, {"single": {"staticMembership": True}}, ["single.staticMembership", "only roles that read the log"]),
    (SINGLE, {"single": {"volume": {"size": "20"}}}, ["single.volume.size is \"20\": it takes a size such as 20Gi"]),
]


class Refusals(unittest.TestCase):
    def test_what_cannot_work_is_refused_in_words_that_say_what_to_do(self):
        for base, wrong, words in REFUSED:
            with self.subTest(wrong):
                with self.assertRaises(chart.Refused) as refused:
                    chart.render(chart.merged(base, wrong))
                for word in words:
                    self.assertIn(word, str(refused.exception))

    def test_what_each_is_wrong_upon_is_right(self):
        for base in {str(base): base for base, _, _ in REFUSED if base}.values():
            chart.render(base)

    def test_all_mistakes_are_told_at_once(self):
        wrong = {"listen": {"port": 9090}, "secrets": {"kafkaUser": {"name": "x"}}, "ingress": {"enabled": True}}
        with self.assertRaises(chart.Refused) as refused:
            chart.render(wrong | {"replicaCount": 2, "service": {"type": "None"}})
        self.assertEqual(str(refused.exception).count("\n  * "), 8)

    def test_what_may_hold_a_password_is_not_shown(self):
        for key, value in (("traces", {"endpoint": "http://me:hunter2@collector"}), ("log", {"kafka": {"properties": {"sasl.password": {"a": "hunter2"}}}})):
            with self.assertRaises(chart.Refused) as refused:
                chart.render(chart.merged(BASE, {"config": {key: value}}))
            self.assertNotIn("hunter2", str(refused.exception))

    def test_the_schema_for_editors_refuses_nothing_and_has_every_value(self):
        def checked(rule, editors):
            self.assertFalse({"enum", "pattern", "minimum", "maximum", "additionalProperties", "type"} & editors.keys())
            for part in ("properties", "$defs"):
                self.assertEqual(rule.get(part, {}).keys(), editors.get(part, {}).keys())
                for name, below in editors.get(part, {}).items():
                    checked(rule[part][name], below)

        files = (chart.CHART / "files" / "values.json", chart.CHART / "values.schema.json")
        checked(*(json.loads(path.read_text()) for path in files))


if __name__ == "__main__":
    unittest.main()
