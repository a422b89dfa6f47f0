"""Values that cannot work are refused before anything is sent, in words that say what to do."""

import unittest

import chart

BASE = {"config": {"log": {"kafka": {"brokers": "kafka:9092"}}}, "secrets": {"storeUrl": {"name": "postrider-store"}}}
SINGLE = {"mode": "single"}
KEDA = {"roles": {"worker": {"autoscaling": {"kind": "keda"}}}}

# What is wrong, upon what; and words that the message must have: where, and what would be right.
REFUSED = [
    ({}, {}, ["config.log.kafka.brokers is empty", "--set mode=single", "secrets.storeUrl.name is empty", "kubectl create secret"]),
    (BASE, {"mode": "kafka"}, ["/mode", "'distributed'", "'single'"]),
    (BASE, {"replicaCount": 3}, ["replicaCount"]),
    (BASE, {"roles": {"workers": {}}}, ["/roles", "workers"]),
    (BASE, {"roles": {"worker": {"replica": 3}}}, ["/roles/worker", "replica"]),
    (BASE, {"config": {"delivery": {"timeouts": "15s"}}}, ["/config/delivery", "timeouts"]),
    (BASE, {"config": {"delivery": {"timeout": 15}}}, ["/config/delivery/timeout", "string"]),
    (BASE, {"config": {"delivery": {"timeout": "15"}}}, ["/config/delivery/timeout", "(ms|s|m|h|d)"]),
    (BASE, {"config": {"log": {"kafka": {"fetch": "16M"}}}}, ["/config/log/kafka/fetch", "MiB"]),
    (BASE, {"config": {"log": {"kafka": {"partitions": 0}}}}, ["/config/log/kafka/partitions", "minimum"]),
    (BASE, {"config": {"log": {"kafka": {"protocol": "tls"}}}}, ["/config/log/kafka/protocol", "'ssl'"]),
    (BASE, {"roles": {"worker": {"config": {"delivery": {"schedule": "0s"}}}}}, ["/roles/worker/config/delivery", "schedule"]),
    (BASE, {"config": {"store": {"url": "postgres://a:b@c/d"}}}, ["config.store.url is not set here", "secrets.storeUrl"]),
    (BASE, {"config": {"log": {"kafka": {"password": "x"}}}}, ["config.log.kafka.password is not set here", "secrets.kafkaUser"]),
    (BASE, {"config": {"registry": {"snapshot": "/tmp/x"}}}, ["config.registry.snapshot is not set here", "secrets.snapshot"]),
    (BASE, {"config": {"registry": {"snapshot_key": "x"}}}, ["config.registry.snapshot_key is not set here", "secrets.snapshot"]),
    (BASE, {"config": {"traces": {"headers": "a=b"}}}, ["config.traces.headers is not set here", "secrets.traces"]),
    (BASE, {"config": {"traces": {"sampling": 0.1}}}, ["config.traces.endpoint empty", "--set config.traces.endpoint"]),
    (BASE, {"config": {"traces": {"sampling": 2}}}, ["/config/traces/sampling", "maximum"]),
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
    (BASE, {"listen": {"port": 80}}, ["/listen/port", "minimum"]),
    (BASE, {"roles": {"worker": {"autoscaling": {"maxReplicas": 17}}}}, ["roles.worker", "config.log.kafka.partitions is 16", "lower"]),
    (BASE, {"roles": {"pump": {"replicas": 17}}}, ["roles.pump", "lower roles.pump.replicas"]),
    (BASE, {"roles": {"api": {"autoscaling": {"minReplicas": 9}}}}, ["roles.api.autoscaling.minReplicas is 9 and maxReplicas 8"]),
    (BASE, {"roles": {"api": {"staticMembership": True}}}, ["roles.api.staticMembership", "only roles that read the log"]),
    (BASE, KEDA, ["keda.prometheus.serverAddress empty", "scale by hpa"]),
    (
        BASE | {"keda": {"prometheus": {"serverAddress": "http://p"}}},
        {"roles": {"worker": {"autoscaling": {"kind": "keda", "metrics": [{"type": "Pods"}]}}}},
        ["roles.worker.autoscaling.metrics is for kind hpa"],
    ),
    (BASE, {"pod": {"resources": {"requests": {"cpu": None}}}}, ["resources.requests.cpu not set", "kind: none"]),
    (BASE, {"roles": {"worker": {"terminationGracePeriodSeconds": 30}}}, ["may take 60 s", "leave it out"]),
    (BASE | {"config": {"log": {"kafka": {"brokers": "k"}}, "delivery": {"drain": "5m"}}}, {"pod": {"terminationGracePeriodSeconds": 120}}, ["roles.worker", "may take 340 s"]),
    (BASE, {"pod": {"podDisruptionBudget": {"maxUnavailable": 0}}}, ["/pod/podDisruptionBudget/maxUnavailable", "minimum"]),
    (BASE, {"ingress": {"enabled": True}}, ["ingress.hosts empty", "ingress.hosts.api[0]"]),
    (BASE, {"ingress": {"tls": [{"secretName": "x"}]}}, ["ingress.enabled false"]),
    (BASE, {"ingress": {"enabled": True, "hosts": {"api": ["https://a.example.com"]}}}, ["/ingress/hosts/api/0"]),
    (BASE, {"gateway": {"enabled": True, "hosts": {"api": ["a.example.com"]}}}, ["there is no Gateway", "gateway.parentRefs"]),
    (BASE, {"gateway": {"parentRefs": [{"name": "a"}], "listeners": [{"name": "b"}]}}, ["either use a Gateway that exists"]),
    (BASE | {"roles": {"ingest": {"enabled": False}}}, {"ingress": {"enabled": True, "hosts": {"ingest": ["a.example.com"]}}}, ["no intake runs apart", "ingress.hosts.api"]),
    (BASE, {"single": {"volume": {"existingClaim": "a"}}}, ["mode distributed", "set mode: single"]),
    (BASE, {"image": {"tag": 1.1}}, ["/image/tag", "want string"]),
    (BASE, {"image": {"digest": "sha256:12"}}, ["/image/digest"]),
    (SINGLE, {"config": {"log": {"kafka": {"brokers": "kafka:9092"}}}}, ["mode is single", "set mode: distributed"]),
    (SINGLE, {"secrets": {"storeUrl": {"name": "a"}}}, ["mode is single and secrets", "leave secrets out"]),
    (SINGLE, {"single": {"terminationGracePeriodSeconds": 60}}, ["single.terminationGracePeriodSeconds is 60", "may take 101 s"]),
    (SINGLE, {"single": {"staticMembership": True}}, ["single.staticMembership", "only roles that read the log"]),
    (SINGLE, {"single": {"volume": {"size": "20"}}}, ["/single/volume/size", "Gi"]),
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
            chart.render(wrong)
        self.assertEqual(str(refused.exception).count("\n  * "), 5)


if __name__ == "__main__":
    unittest.main()
