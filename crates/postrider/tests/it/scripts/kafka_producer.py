"""Publishes to a Kafka topic with the official CloudEvents library and confluent-kafka, as a producer would.

Usage: kafka_producer.py BROKERS TOPIC APPLICATION good|wrong
"""

import sys

from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Producer

brokers, topic, application, what = sys.argv[1:]
producer = Producer({"bootstrap.servers": brokers, "acks": "all"})
failures = []


def produce(key, value, headers):
    producer.produce(
        topic, key=key, value=value, headers=headers, on_delivery=lambda error, _: error and failures.append(error)
    )


def publish(convert, number):
    event = CloudEvent(
        attributes={
            "id": f"order-{number}",
            "source": "/shop",
            "type": "order.created",
            "datacontenttype": "application/json",
            "application": application,
        },
        data={"order": number},
    )
    message = convert(event, key_mapper=lambda _: application)
    produce(message.key, message.value, list(message.headers.items()))


def plain(value, **headers):
    names = {"application": application, "event_type": "order.created", **headers}
    produce(None, value, [(name.replace("_", "-"), given) for name, given in names.items() if given is not None])


if what == "good":
    publish(kafka.to_binary_event, 1)
    publish(kafka.to_structured_event, 2)
    # The first once more, in the other mode: a repeat.
    publish(kafka.to_structured_event, 1)
else:
    plain(b"{}", application="not-there-yet")
    plain(b"{}", event_type=b"bad type!")
    plain(b"{}", event_type=None)
    plain(b"{}", channels=b"\xff")
    plain(b"x" * 5000)
    plain(None)
    produce(None, b"no headers at all", [])
    produce(None, b"{", [("content-type", b"application/cloudevents+json")])

left = producer.flush(60)
if left or failures:
    sys.exit(f"{left} records were not sent; {failures}")
