"""Uploads a recording with tuspy, through a proxy that cuts the connections at random bytes.

    tus_upload.py make FILE MIB                     writes a WAV file
    tus_upload.py send SERVER TOKEN BOOK FILE CUTS  uploads it; the last line of the output is JSON: cuts, size, bytes sent
    tus_upload.py checked SERVER TOKEN BOOK FILE    uploads it in pieces with checksums, without cuts
    tus_upload.py abandon SERVER TOKEN BOOK FILE    uploads 9 MiB of it

The client is as published: it knows nothing of the proxy, nor of a server that is killed and started again meanwhile.
"""

import json
import os
import random
import socket
import struct
import sys
import threading
from urllib.parse import urlsplit

from tusclient import client

CHUNK = 64 << 10


def make(path, mib):
    """A WAV file of about so many MiB: noise, one channel, 8,000 samples of 16 bits a second."""
    length = (mib << 20) - 44
    noise = random.Random(mib).randbytes(1 << 20)
    with open(path, "wb") as file:
        file.write(struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 36 + length, b"WAVEfmt ", 16, 1, 1, 8000, 16000, 2, 16, b"data", length))
        while length > 0:
            # Other bytes in each MiB, so that a part at a wrong place is noticed.
            file.write((length.to_bytes(8, "little") + noise[8:])[: min(length, 1 << 20)])
            length -= 1 << 20


class CuttingProxy:
    """Passes bytes on to the server, and counts them. Closes a connection after a random number of them, as often as `cuts` says."""

    def __init__(self, server, cuts, most):
        address = urlsplit(server)
        self.server = (address.hostname, address.port)
        self.cuts_left, self.cuts, self.most, self.sent = cuts, 0, most, 0
        self.random, self.lock = random.Random(7), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(near,), daemon=True).start()

    def serve(self, near):
        try:
            far = socket.create_connection(self.server)
        except OSError:
            # The server is being started again.
            near.close()
            return
        # What waits in the buffers when the server is killed is sent again too.
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
        threading.Thread(target=self.back, args=(far, near), daemon=True).start()
        left = self.random.randrange(1, self.most)
        while piece := receive(near):
            with self.lock:
                is_cut = self.cuts_left > 0 and len(piece) >= left
                if is_cut:
                    self.cuts_left -= 1
                    self.cuts += 1
                    piece = piece[:left]
                left -= len(piece)
                self.sent += len(piece)
            if not send(far, piece) or is_cut:
                break
        close(far, near)

    @staticmethod
    def back(far, near):
        while piece := receive(far):
            if not send(near, piece):
                break
        close(near, far)


def receive(connection):
    try:
        return connection.recv(CHUNK)
    except OSError:
        return b""


def send(connection, piece):
    try:
        connection.sendall(piece)
        return True
    except OSError:
        return False


def close(*connections):
    for connection in connections:
        try:
            # A thread may wait for it.
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        # A client that is still sending learns it by a reset, which only a closed socket sends.
        connection.close()


def uploader(server, token, book, path, **options):
    tus = client.TusClient(server + "/v1/uploads", headers={"Authorization": "Bearer " + token})
    metadata = {"book": book, "filename": os.path.basename(path), "filetype": "audio/wav"}
    return tus.uploader(path, metadata=metadata, **options)


def upload(*where, **options):
    sending = uploader(*where, **options)
    sending.upload()
    assert sending.offset == sending.get_file_size(), sending.offset


def main():
    match sys.argv[1:]:
        case ["make", path, mib]:
            make(path, int(mib))
        case ["send", server, token, book, path, cuts]:
            size = os.path.getsize(path)
            proxy = CuttingProxy(server, int(cuts), 2 * size // max(int(cuts), 1))
            upload(proxy.url, token, book, path, chunk_size=size // 4 + 1, retries=250, retry_delay=0.2)
            print(json.dumps({"cuts": proxy.cuts, "size": size, "sent": proxy.sent}))
        case ["checked", server, token, book, path]:
            upload(server, token, book, path, chunk_size=3_000_000, upload_checksum=True)
        case ["abandon", server, token, book, path]:
            uploader(server, token, book, path).upload(stop_at=9 << 20)
        case _:
            sys.exit(__doc__)


main()
