#!/usr/bin/env python3
"""Downloads of a bought recording: ranges, tokens, refunds, slow readers.

1,000 random ranges have the bytes of the file. Of 10,000 forged, foreign, expired and wrong tokens none is served. After a refund nothing
is served within a second, and a response in progress ends. 200 readers that read next to nothing cost the server little memory.

CHECK_FAKETIME is the path of libfaketime, with which the server makes links that have expired.
"""

import http.client
import os
import random
import re
import selectors
import socket
import string
import threading
import time

from server import TIMEOUT, Client, Server, buy, check, link, publish, recording, register

SIZE = 64 << 20
RANGES = 1_000
TOKENS = 10_000
READERS = 200
# How long they read, and how much they read a second.
READING, PACE = 15, 1024
MOST_MEMORY = 32 << 20


def ranges(client, path, content):
    """Asks for random ranges, of all forms."""
    size = len(content)
    whole = client.ask(200, "HEAD", path)
    etag = whole.headers["ETag"]
    check(int(whole.headers["Content-Length"]) == size, "HEAD tells another length")
    for number in range(RANGES):
        # Short ones and long ones alike.
        length = min(int(2 ** random.uniform(0, 21)), size)
        first = random.choice([0, size - 1, random.randrange(size)])
        last = min(first + length, size) - 1
        form = random.choice(["both", "open", "suffix", "beyond"])
        if form == "open":
            first = max(first, size - (1 << 20))
            asked, last = f"{first}-", size - 1
        elif form == "suffix":
            first, last = size - length, size - 1
            asked = f"-{length}"
        elif form == "beyond":
            first = max(first, size - (1 << 20))
            asked, last = f"{first}-{size + random.randrange(1, 1 << 40)}", size - 1
        else:
            asked = f"{first}-{last}"
        headers = {"Range": f"bytes={asked}"}
        if number % 3 == 0:
            headers["If-Range"] = etag
        answer = client.ask(206, "GET", path, headers=headers)
        told = answer.headers["Content-Range"]
        check(told == f"bytes {first}-{last}/{size}", f"{asked}: Content-Range {told}")
        check(answer.body == content[first : last + 1], f"{asked}: other bytes than those of the file")
    for outside in (f"{size}-", f"{size + 1}-{size + 2}", "-0"):
        answer = client.ask(416, "GET", path, headers={"Range": f"bytes={outside}"})
        check(answer.headers["Content-Range"] == f"bytes */{size}", f"{outside}: {answer.headers['Content-Range']}")
    # Another version of the file, and what is no range: the whole file.
    for headers in ({"Range": "bytes=0-9", "If-Range": '"other"'}, {"Range": "lines=0-9"}):
        check(client.ask(200, "GET", path, headers=headers).body == content, f"{headers}: other bytes than those of the file")
    print(f"{RANGES} random ranges: equal to the file", flush=True)


def altered(token):
    """A token with one other character. The last ones may have bits that count for nothing."""
    place = random.randrange(len(token) - 3)
    letter = random.choice([letter for letter in string.ascii_letters + string.digits + "-_." if letter != token[place]])
    return token[:place] + letter + token[place + 1 :]


def text(length):
    return "".join(random.choices(string.ascii_letters + string.digits + "-_", k=length))


def tokens(server, good, others, expired):
    """Asks with tokens that must not be served. `others` are tokens for other purposes."""
    head, body, signature = good.split(".")
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    made = [("altered", altered(good)) for _ in range(TOKENS * 4 // 10)]
    made += [("of another key", f"{head}.{body}.{text(len(signature))}") for _ in range(TOKENS * 2 // 10)]
    made += [("expired", random.choice(expired)) for _ in range(TOKENS * 2 // 10)]
    made += [("for another purpose", random.choice(others)) for _ in range(TOKENS // 10)]
    while len(made) < TOKENS:
        made.append(("junk", random.choice([text(random.randrange(1, 500)), good[: random.randrange(1, len(good))], f"{none}.{body}."])))
    random.shuffle(made)
    answers, failed = {}, []

    def ask(part):
        client = server.client()
        for kind, token in part:
            if kind != "expired" and token == good:
                continue
            try:
                answer = client.send("GET", f"/v1/media/{token}")
            except (OSError, http.client.HTTPException) as error:
                failed.append(f"{kind}: {error!r}")
                return
            answers[(kind, answer.status, answer.code)] = answers.get((kind, answer.status, answer.code), 0) + 1

    threads = [threading.Thread(target=ask, args=(made[first::4],)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not failed, f"{len(failed)} clients failed: {failed[:1]}")
    for (kind, status, code), number in sorted(answers.items()):
        print(f"  {number} {kind}: {status} {code}", flush=True)
    wrong = {answer: number for answer, number in answers.items() if answer[1:] != (404, "link_invalid")}
    check(not wrong, f"not all were refused as an invalid link: {wrong}")
    print(f"{sum(answers.values())} wrong tokens: none was served", flush=True)


def slow_socket(server, path):
    """A connection with a small buffer that has asked for the file."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
    connection.settimeout(TIMEOUT)
    host, port = server.address.split(":")
    connection.connect((host, int(port)))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {server.address}\r\n\r\n".encode())
    return connection


def refund(server, client, book):
    """Refunds a book whose file is being read."""
    token = register(client)
    order = buy(client, token, [book])
    path = link(client, token, book)
    reading = slow_socket(server, path)
    check(re.match(rb"HTTP/1.1 200 ", reading.recv(4096)), "the file is not served before the refund")
    began = time.monotonic()
    client.ask(200, "POST", f"/v1/orders/{order['id']}/refund", server.admin, {"reason": "a check"})
    while (answer := client.send("GET", path, headers={"Range": "bytes=0-9"})).status != 404:
        check(answer.status == 206, f"{answer.status} {answer.body[:200]!r}")
        check(time.monotonic() - began < 1, "the link is served a second after the refund")
    took = time.monotonic() - began
    # The response in progress is ended within a second too; what the kernel holds by then still comes.
    time.sleep(max(0, began + 1.2 - time.monotonic()))
    received = 0
    try:
        while block := reading.recv(1 << 20):
            received += len(block)
    except ConnectionError:
        pass
    check(received < SIZE // 2, f"a reader got {received} bytes after the refund")
    refused = client.send("POST", f"/v1/books/{book}/download", token)
    check((refused.status, refused.code) == (403, "not_bought"), f"a new link after the refund: {refused.status} {refused.code}")
    print(f"a refund: refused after {took * 1000:.0f} ms; the reader got {received >> 10} KiB more", flush=True)


def slow_readers(server, client, path):
    """Many readers that read next to nothing."""
    client.ask(206, "GET", path, headers={"Range": "bytes=0-1048575"})
    before = most = server.memory()
    readers = [slow_socket(server, path) for _ in range(READERS)]
    ends, received = time.monotonic() + READING, 0
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            reader.setblocking(False)
            selector.register(reader, selectors.EVENT_READ)
        while time.monotonic() < ends:
            next_round = time.monotonic() + 1
            for key, _ in selector.select(timeout=1):
                block = key.fileobj.recv(PACE)
                check(block, "a slow reader was disconnected")
                received += len(block)
            most = max(most, server.memory())
            time.sleep(max(0, next_round - time.monotonic()))
    # The server may have closed the idle connection.
    client.close()
    began = time.monotonic()
    check(client.ask(206, "GET", path, headers={"Range": "bytes=0-1048575"}).body, "nothing is served beside slow readers")
    took = time.monotonic() - began
    for reader in readers:
        reader.close()
    grown = (most - before) / (1 << 20)
    print(f"{READERS} slow readers for {READING} s: memory + {grown:.1f} MiB; a MiB beside them in {took * 1000:.0f} ms", flush=True)
    check(received >= READERS * PACE * READING // 2, f"the readers got only {received} bytes")
    check(most - before <= MOST_MEMORY, f"memory grew by {grown:.1f} MiB")
    check(took < 5, f"a client beside slow readers waited {took:.1f} s")


def expired_links(server, book_path):
    """Links that a server made eleven minutes ago."""
    library = os.environ["CHECK_FAKETIME"]
    with server.started({"LD_PRELOAD": library, "FAKETIME": "-11m", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}):
        client = Client(server.address)
        book = publish(client, server.admin, recording(1 << 20))
        token = register(client)
        buy(client, token, [book])
        paths = [link(client, token, book) for _ in range(50)]
        check(client.send("GET", paths[0]).status == 200, "a link is not served while it is valid")
    return [path.removeprefix(book_path) for path in paths]


def main():
    prefix = "/v1/media/"
    server = Server()
    expired = expired_links(server, prefix)
    with server:
        client, admin = server.client(), server.admin
        content = recording(SIZE)
        book = publish(client, admin, content)
        token = register(client)
        buy(client, token, [book])
        path = link(client, token, book)
        check(path.startswith(prefix), f"a link has the path {path}")
        ranges(client, path, content)
        upload = client.ask(200, "POST", f"/v1/books/{book}/upload", admin).json["upload_url"].rsplit("/", 1)[1]
        tokens(server, path.removeprefix(prefix), [token, upload, admin], expired)
        refund(server, client, publish(client, admin, content))
        slow_readers(server, client, link(client, token, book))


if __name__ == "__main__":
    main()
