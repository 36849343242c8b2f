"""A `sightline up` of its own for the checks of the shop, and requests to it.

CHECK_PROGRAM is the program, CHECK_FOLDER an empty folder. Further settings of the server are in the variables that
begin with SERVER_, such as SERVER_SIGHTLINE_MEDIA_URL: the server itself refuses a variable SIGHTLINE_… that is no setting. Needs only Python.
"""

import http.client
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlencode, urlsplit

PASSWORD = "lamp ostrich kettle"
# Time limit of a request, and of a start of the server.
TIMEOUT = 60


def fail(text):
    """Ends the check."""
    sys.exit(f"error: {text}")


def check(holds, text):
    """Ends the check unless it holds."""
    if not holds:
        fail(text)


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


class Answer:
    """The response to a request."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The stable code of a refusal."""
        try:
            return self.json.get("code")
        except (ValueError, AttributeError):
            return None


class Client:
    """One connection to the server, which is opened again when it breaks. Not for several threads."""

    def __init__(self, address):
        self.address = address
        self.connection = None

    def send(self, method, path, token=None, body=None, headers=()):
        """Sends a request. `body` is bytes, an object that becomes JSON, or a form as a list of pairs."""
        headers = dict(headers)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if isinstance(body, list):
            headers["Content-Type"], body = "application/x-www-form-urlencoded", urlencode(body)
        elif body is not None and not isinstance(body, bytes):
            headers["Content-Type"], body = "application/json", json.dumps(body)
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT)
        try:
            self.connection.request(method, path, body, headers)
            return Answer(self.connection.getresponse())
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def ask(self, expected, method, path, *arguments, **options):
        """Sends a request, whose response must have this status."""
        answer = self.send(method, path, *arguments, **options)
        check(answer.status == expected, f"{method} {path}: {answer.status} {answer.body[:500]!r}")
        return answer

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Server:
    """The process. It can be killed and started again on its folder and port."""

    def __init__(self, settings=None):
        self.program = os.environ["CHECK_PROGRAM"]
        self.folder = os.environ["CHECK_FOLDER"]
        self.log = os.path.join(self.folder, "up.log")
        self.address = f"127.0.0.1:{free_port()}"
        self.process = None
        own = {name.removeprefix("SERVER_"): value for name, value in os.environ.items() if name.startswith("SERVER_")}
        self.settings = {
            "SIGHTLINE_DATA_DIR": os.path.join(self.folder, "data"),
            "SIGHTLINE_HTTP_ADDR": self.address,
            "SIGHTLINE_TOKEN_ISSUER": f"http://{self.address}",
            "SIGHTLINE_ADMIN_ADDR": "off",
            "SIGHTLINE_GRPC_ADDR": "off",
            "SIGHTLINE_RATE_LIMIT_RPS": "none",
            "SIGHTLINE_SIGN_INS_PER_ADDRESS": "none",
            # The checks are not about passwords.
            "SIGHTLINE_PASSWORD_HASH_MEMORY_KIB": "8",
            "SIGHTLINE_PASSWORD_HASH_PASSES": "1",
            **own,
            **(settings or {}),
        }

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                ended = self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                ended = self.process.wait()
            check(kind is not None or ended == 0, f"sightline up did not stop cleanly: {ended}")
        if kind is not None:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                print(f"--- end of {self.log}", *log.readlines()[-40:], sep="\n", file=sys.stderr)

    def started(self, extra):
        """Starts it with further variables, for a `with`."""
        self.start(extra)
        return self

    def start(self, extra=None):
        """Starts it and waits until it is ready."""
        environment = {**os.environ, **self.settings, **(extra or {})}
        with open(self.log, "ab") as log:
            # It ends with this script.
            command = ["setpriv", "--pdeathsig", "KILL", self.program, "up"]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            check(self.process.poll() is None, f"sightline up has ended; see {self.log}")
            try:
                if Client(self.address).send("GET", "/readyz").status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.02)
        fail(f"sightline up is not ready after {TIMEOUT} s; see {self.log}")

    def kill(self):
        """Kills it with -9."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        ended = self.process.wait(30)
        check(ended == 0, f"sightline up did not stop cleanly: {ended}")

    def client(self):
        return Client(self.address)

    @property
    def admin(self):
        """The operator's token."""
        with open(os.path.join(self.settings["SIGHTLINE_DATA_DIR"], "admin.token"), encoding="utf-8") as file:
            return file.read().strip()

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise ValueError("the process has no memory")

    @property
    def is_embedded(self):
        """Whether the database is the embedded one, which can be read here."""
        return "SIGHTLINE_DATABASE_URL" not in self.settings

    def rows(self, query):
        """Rows of the embedded database. Of a server that was killed, a copy is read: its recovery is for the server to do."""
        with tempfile.TemporaryDirectory() as copy:
            folder = self.settings["SIGHTLINE_DATA_DIR"]
            if self.process.poll() is not None:
                for name in ("accounts.sqlite", "accounts.sqlite-wal"):
                    if os.path.exists(os.path.join(folder, name)):
                        shutil.copy(os.path.join(folder, name), copy)
                folder = copy
            database = sqlite3.connect(os.path.join(folder, "accounts.sqlite"), timeout=30)
            try:
                return database.execute(query).fetchall()
            finally:
                database.close()


def register(client):
    """Registers a user; returns its access token."""
    name = f"u{random.getrandbits(64):016x}"
    client.ask(201, "POST", "/v1/users", body={"email": f"{name}@example.org", "username": name, "password": PASSWORD})
    form = [("grant_type", "password"), ("username", name), ("password", PASSWORD)]
    return client.ask(200, "POST", "/v1/token", body=form).json["access_token"]


def recording(size):
    """A WAV file of noise with about so many bytes."""
    samples = random.randbytes(size & ~3)
    head = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", len(samples) + 36, b"WAVEfmt ", 16, 1, 2, 48000, 192000, 4, 16, b"data", len(samples))
    return head + samples


def publish(client, admin, content, minor=1299):
    """Sells a book with this recording; returns its id."""
    body = {"title": f"Emma {random.getrandbits(32):08x}", "author": "Jane Austen", "price": {"minor": minor, "currency": "EUR"}}
    book = client.ask(201, "POST", "/v1/books", admin, body).json["id"]
    link = client.ask(200, "POST", f"/v1/books/{book}/upload", admin).json["upload_url"]
    client.ask(200, "PUT", urlsplit(link).path, body=content)
    deadline = time.monotonic() + TIMEOUT
    while (status := client.ask(200, "POST", f"/v1/books/{book}/pipeline", admin).json["status"]) != "ready":
        check(time.monotonic() < deadline, f"the book is {status}")
        time.sleep(0.1)
    return book


def buy(client, token, books):
    """Buys books; returns the order."""
    for book in books:
        client.ask(200, "PUT", f"/v1/cart/{book}", token)
    return client.ask(200, "POST", "/v1/checkout", token).json


def link(client, token, book):
    """The path of a new link to the recording."""
    return urlsplit(client.ask(200, "POST", f"/v1/books/{book}/download", token).json["download_url"]).path
