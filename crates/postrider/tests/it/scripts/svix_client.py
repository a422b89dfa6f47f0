"""The first acceptance by a client that we did not write: svix_client.py SERVER TOKEN RECEIVER.

Works with both generations of the official library, unchanged: creates an application, an endpoint and an
event, and reads the attempt back.
"""

import sys
import time

from svix.api import ApplicationIn, EndpointIn, MessageIn, Svix, SvixOptions

server, token, receiver = sys.argv[1:]
svix = Svix(token, SvixOptions(server_url=server))

application = svix.application.create(ApplicationIn(name="Acceptance", uid="acceptance"))
assert application.uid == "acceptance", application
assert svix.application.get("acceptance").id == application.id

endpoint = svix.endpoint.create(application.id, EndpointIn(url=receiver, description="a receiver"))
assert endpoint.url == receiver, endpoint
assert [one.id for one in svix.endpoint.list(application.id).data] == [endpoint.id]
assert svix.endpoint.get_secret(application.id, endpoint.id).key.startswith("whsec_")

event = svix.message.create(
    application.id,
    MessageIn(event_type="acceptance.tried", payload={"answer": 42}),
)
assert event.id.startswith("msg_"), event
# At once: a client library reads what it has just made.
assert svix.message.get(application.id, event.id).event_type == "acceptance.tried"

deadline = time.monotonic() + 60
attempts = []
while not attempts and time.monotonic() < deadline:
    attempts = svix.message_attempt.list_by_msg(application.id, event.id).data
    time.sleep(0.05)
(attempt,) = attempts
assert attempt.msg_id == event.id, attempt
assert attempt.endpoint_id == endpoint.id, attempt
assert attempt.response_status_code == 200, attempt
assert attempt.url == receiver, attempt

by_endpoint = svix.message_attempt.list_by_endpoint(application.id, endpoint.id).data
assert [one.id for one in by_endpoint] == [attempt.id], by_endpoint
