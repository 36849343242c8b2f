"""`sightline up` for the benches that are scripts: on a folder of its own, ready, with the operator's token."""

import json
import os
import subprocess
import sys
import time
import urllib.request


def fail(text):
    sys.exit(f"error: {text}")


def wait_for(what, condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            fail(f"not within {seconds} s: {what}")
        time.sleep(0.25)


def version_of(sightline):
    return subprocess.run([sightline, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1]


class SightlineUp:
    """The whole of `sightline up`: API, worker, indexer and event stream in one process. `environment` is added to this process's."""

    def __init__(self, sightline, folder, port, environment):
        self.api, self.log = f"http://127.0.0.1:{port}", folder / "up.log"
        folder.mkdir(exist_ok=True)
        options = ["--data-dir", folder / "data", "--http-addr", f"127.0.0.1:{port}", "--admin-addr", "off"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen([sightline, "up", *options], env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            wait_for("sightline up is ready", self.is_ready)
        except BaseException:
            self.kill()
            raise
        self.token = (folder / "data/admin.token").read_text().strip()

    def is_ready(self):
        if self.process.poll() is not None:
            fail(f"sightline up has ended:\n{self.log.read_text()}")
        try:
            with urllib.request.urlopen(f"{self.api}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def open(self, path):
        request = urllib.request.Request(self.api + path, headers={"Authorization": f"Bearer {self.token}"})
        return urllib.request.urlopen(request, timeout=120)

    def get(self, path):
        with self.open(path) as response:
            return json.load(response)

    def list(self, path):
        """All items of a list, over its pages."""
        items, cursor = [], ""
        while cursor is not None:
            separator = "&" if "?" in path else "?"
            page = self.get(f"{path}{separator}limit=1000{cursor}")
            items += page["items"]
            cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
        return items

    def stop(self):
        """Fails if it did not end well, or logged an error."""
        self.process.terminate()
        if self.process.wait(60) != 0 or " ERROR " in self.log.read_text():
            fail(f"sightline up failed:\n{self.log.read_text()}")

    def kill(self):
        """After a failure."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
