"""What a server in Python says to a room server, and hears from it: publications, tickets, webhooks.

Copy it into your project: it needs the standard library alone. As a program it calls one of its functions:

    python3 backend.py publish http://localhost:1999 "$PUBLISH_KEY" lobby "tea is ready"
    python3 backend.py ticket http://localhost:1998 "$ROOM_TOKEN" lobby
    python3 backend.py verify "$WEBHOOK_SECRET" "$ID" "$TIMESTAMP" "$SIGNATURE" < body

Invariant: a webhook is read only after its signature and its time have been checked, and no error shows a secret. It does
not know rooms or clients. `sdk/js/backend.js` is the same for Node.
"""

import base64
import binascii
import hashlib
import hmac
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# How old a webhook may be, or how far ahead its clock: what is older may be a copy.
TOLERANCE_S = 300
# How long an answer may take.
ANSWER_S_MAX = 30


class BackendError(Exception):
    """A request that the server refused. `status` is that of the answer."""

    def __init__(self, status, message):
        super().__init__(message or f"the server answered {status}")
        self.status = status


class WebhookError(Exception):
    """A webhook whose signature or time is invalid."""


def publish(url, key, room, message, party="main", idempotency_key=None):
    """Publishes a message to a room: text, bytes, or anything that JSON has. Returns its id once its turn is durable."""
    if isinstance(message, str):
        kind, body = "text/plain", message.encode()
    elif isinstance(message, bytes):
        kind, body = "application/octet-stream", message
    else:
        kind, body = "application/json", json.dumps(message).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": kind}
    if idempotency_key is not None:
        headers["idempotency-key"] = idempotency_key
    return _ask(url, f"/_room/publish/{_quoted(party)}/{_quoted(room)}", headers, body)["id"]


def ticket(url, token, room, party="main", ms=60_000, capabilities=("read", "write", "presence"), once=False,
           claims=None, project=None):
    """Asks an operators' address for a ticket, with a token of scope `admin`. Clients show it as `?ticket=`."""
    own = f"projects/{_quoted(project)}/node/tickets" if project else "tickets"
    asked = {"party": party, "room": room, "ms": ms, "capabilities": list(capabilities), "once": once}
    if claims is not None:
        asked["claims"] = claims
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    return _ask(url, f"/_room/admin/{own}", headers, json.dumps(asked).encode())["ticket"]


def verify_webhook(headers, body, secret, now=None):
    """Checks a webhook, and returns what it says, with its id.

    `headers` are those of the request, their names in lower case; `body` is the bytes as they came; `secret` is the
    variable of `[webhooks]` in room.toml.
    """
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    for name in names:
        if not headers.get(name):
            raise WebhookError(f"the header {name} is missing")
    own_id, timestamp, signatures = (headers[name] for name in names)
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise WebhookError("webhook-timestamp is not a number of seconds")
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE_S:
        raise WebhookError(
            f"webhook-timestamp is more than {TOLERANCE_S} s away: the webhook may be a copy, or a clock is wrong")
    if not secret:
        raise ValueError("the secret is missing")
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    expected = hmac.new(key, f"{own_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    for signature in signatures.split(" "):
        if signature.startswith("v1,") and hmac.compare_digest(_bytes_or_none(signature[3:]), expected):
            return {**json.loads(body), "id": own_id}
    raise WebhookError("no signature in webhook-signature is that of the secret")


def _quoted(name):
    return urllib.parse.quote(name, safe="")


def _bytes_or_none(text):
    """Decodes a signature. A text that is not base64 matches no key."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _ask(url, path, headers, body):
    request = urllib.request.Request(urllib.parse.urljoin(url, path), data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S_MAX) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise BackendError(error.code, error.read().decode(errors="replace")) from None


def main(arguments):
    match arguments:
        case ["publish", url, key, room, text]:
            return publish(url, key, room, text)
        case ["ticket", url, token, room]:
            return ticket(url, token, room)
        case ["verify", secret, own_id, timestamp, signature]:
            headers = {"webhook-id": own_id, "webhook-timestamp": timestamp, "webhook-signature": signature}
            return json.dumps(verify_webhook(headers, sys.stdin.buffer.read(), secret))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        print(main(sys.argv[1:]))
    except (BackendError, WebhookError) as error:
        sys.exit(f"error: {error}")
