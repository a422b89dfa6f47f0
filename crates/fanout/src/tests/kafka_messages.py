"""Prints, as JSON, the Kafka messages that the official CloudEvents library makes of some events.

Keys, header values and values are in base64; the headers are a list, as Kafka has them.
"""

import base64
import json
from datetime import datetime, timezone

from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent


def event(number, data, **more):
    attributes = {
        "id": f"order-{number}",
        "source": "/shop",
        "type": "order.created",
        "time": datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc),
        **more,
    }
    return CloudEvent(attributes=attributes, data=data)


def text(value):
    value = value.encode() if isinstance(value, str) else value or b""
    return base64.b64encode(value).decode()


def shown(message):
    headers = [[name, text(value)] for name, value in message.headers.items()]
    return {"key": text(message.key), "headers": headers, "value": text(message.value)}


JSON = {"datacontenttype": "application/json"}
EVENTS = {
    # The key names the application: the library makes it of the attribute `partitionkey`.
    "json": event(1, {"n": 1}, partitionkey="shop", **JSON),
    "extension": event(2, {"n": 2}, application="shop", channels="eu,us", **JSON),
    "text": event(3, "grüße", partitionkey="shop", datacontenttype="text/plain"),
    "bytes": event(4, b"\x00\xff", partitionkey="shop", datacontenttype="application/octet-stream"),
    "untyped": event(5, {"n": 5}, partitionkey="shop"),
}

print(
    json.dumps(
        {
            name: {
                "binary": shown(kafka.to_binary_event(given)),
                "structured": shown(kafka.to_structured_event(given)),
            }
            for name, given in EVENTS.items()
        }
    )
)
