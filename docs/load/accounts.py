#!/usr/bin/env python3
"""Measures the account requests of a client, in sequence, by many clients at once.

  docs/load/accounts.py [--program ./sightline] [--clients 8] [--seconds 30] [--cheap]

Starts a `sightline up` on a new folder, without limits on requests and sign-ins, and reads the mailed tokens from its log. With
--cheap a password hash costs almost nothing: the difference to a normal run is the share of Argon2. Needs only Python.
docs/load/accounts.js does the same with k6, against a running server.
"""

import argparse
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from urllib.parse import urlencode

PASSWORDS = ("lamp ostrich kettle", "kettle under seven clouds")


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


class Server:
    def __init__(self, program, cheap):
        self.folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        self.log = os.path.join(self.folder.name, "up.log")
        settings = {
            "SIGHTLINE_DATA_DIR": os.path.join(self.folder.name, "data"),
            "SIGHTLINE_HTTP_ADDR": f"127.0.0.1:{self.port}",
            "SIGHTLINE_ADMIN_ADDR": "off",
            "SIGHTLINE_RATE_LIMIT_RPS": "none",
            "SIGHTLINE_SIGN_INS_PER_ADDRESS": "1000000",
            # One line per mail.
            "SIGHTLINE_LOG_FORMAT": "json",
        }
        if cheap:
            settings |= {"SIGHTLINE_PASSWORD_HASH_MEMORY_KIB": "8", "SIGHTLINE_PASSWORD_HASH_PASSES": "1"}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([program, "up"], env=os.environ | settings, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if send(http.client.HTTPConnection("127.0.0.1", self.port), "GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        sys.exit(f"sightline up did not start: {open(self.log, encoding='utf-8').read()[-2000:]}")

    def mailed(self, address):
        """Returns the token that was mailed to an address."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with open(self.log, encoding="utf-8") as log:
                for line in log:
                    if address in line and (found := re.search(r"#token=(slp_[A-Za-z0-9_-]+)", line)):
                        return found[1]
            time.sleep(0.02)
        raise TimeoutError(f"no mail for {address}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.folder.cleanup()


def send(connection, method, path, body=None, token=None, form=False):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded" if form else "application/json"
        body = urlencode(body) if form else json.dumps(body)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    text = response.read()
    return response.status, json.loads(text) if text else None


def round_trip(server, record):
    """Sends all requests of one client, once."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    name = f"u{uuid.uuid4().hex}"
    address = f"{name}@example.org"

    def timed(request, expected, *arguments, **options):
        began = time.monotonic()
        status, body = send(connection, *arguments, **options)
        while status == 503:
            # Overloaded: the time until the request succeeds counts.
            time.sleep(0.2)
            status, body = send(connection, *arguments, **options)
        record(request, time.monotonic() - began)
        if status != expected:
            raise AssertionError(f"{request}: {status} {body}")
        return body

    def sign_in(request, password):
        form = {"grant_type": "password", "username": name, "password": password}
        return timed(request, 200, "POST", "/v1/token", form, form=True)

    timed("register", 201, "POST", "/v1/users", {"email": address, "username": name, "password": PASSWORDS[0]})
    first = sign_in("sign in", PASSWORDS[0])
    token = first["access_token"]
    timed("profile", 200, "GET", "/v1/users/me", token=token)
    claims = timed("validate", 200, "POST", "/v1/token/introspect", {"token": token}, token=token, form=True)
    assert claims["active"], claims
    timed("quota", 200, "GET", "/v1/users/me/quota", token=token)
    timed("sessions", 200, "GET", "/v1/sessions", token=token)
    timed("API token", 201, "POST", "/v1/api-tokens", {"name": "x", "scopes": ["frames:write"]}, token=token)
    timed("revoke", 200, "POST", "/v1/token/revoke", {"token": first["refresh_token"]}, form=True)
    timed("revoked is refused", 401, "GET", "/v1/users/me", token=token)
    timed("request reset", 202, "POST", "/v1/password/forgot", {"email": address})
    mailed = server.mailed(address)
    timed("reset", 204, "POST", "/v1/password/reset", {"token": mailed, "password": PASSWORDS[1]})
    again = sign_in("sign in again", PASSWORDS[1])
    form = {"grant_type": "refresh_token", "refresh_token": again["refresh_token"]}
    fresh = timed("refresh", 200, "POST", "/v1/token", form, form=True)
    timed("sign out everywhere", 204, "DELETE", "/v1/sessions", token=fresh["access_token"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="./sightline")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--cheap", action="store_true")
    arguments = parser.parse_args()
    server, times, lock, failed = Server(arguments.program, arguments.cheap), {}, threading.Lock(), []
    ends = time.monotonic() + arguments.seconds

    def record(request, seconds):
        with lock:
            times.setdefault(request, []).append(seconds)

    def client():
        try:
            while time.monotonic() < ends:
                round_trip(server, record)
        except Exception as error:  # noqa: BLE001: reported below
            failed.append(error)

    clients = [threading.Thread(target=client) for _ in range(arguments.clients)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    server.stop()
    print(f"{'request':<22}{'number':>8}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}")
    for request, seconds in times.items():
        seconds.sort()
        p50, p95, p99 = (seconds[min(len(seconds) - 1, int(len(seconds) * share))] * 1000 for share in (0.5, 0.95, 0.99))
        print(f"{request:<22}{len(seconds):>8}{p50:>10.1f}{p95:>10.1f}{p99:>10.1f}")
    rounds = len(times.get("sign out everywhere", []))
    print(f"{rounds} rounds of 14 requests by {arguments.clients} clients, {rounds / arguments.seconds:.1f} a second")
    if failed:
        sys.exit(f"{len(failed)} clients failed, the first by {failed[0]!r}")


if __name__ == "__main__":
    main()
