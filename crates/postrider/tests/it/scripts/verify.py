"""Verifies a delivery by the official library: verify.py DELIVERY, which is JSON with the body in hex."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

delivery = json.loads(sys.argv[1])
body = bytes.fromhex(delivery["body"])
webhook = Webhook(delivery["secret"])

webhook.verify(body, delivery["headers"])
try:
    webhook.verify(body + b" ", delivery["headers"])
except WebhookVerificationError:
    sys.exit(0)
sys.exit("a changed body verified as well")
