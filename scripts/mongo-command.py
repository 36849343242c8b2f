"""Sends one command to a mongod and prints its reply as JSON: `mongo-command.py PORT DATABASE JSON`.

Exits with 1 when the server replies `ok: 0`. It implements OP_MSG of the wire protocol, with just enough BSON for
administration, so that starting a replica set needs neither a shell nor a driver.
"""

import json
import socket
import struct
import sys


def encode(document):
    body = b"".join(encode_element(name, value) for name, value in document.items())
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def encode_element(name, value):
    key = name.encode() + b"\0"
    if isinstance(value, bool):
        return b"\x08" + key + bytes([value])
    if isinstance(value, int):
        return b"\x12" + key + struct.pack("<q", value)
    if isinstance(value, str):
        text = value.encode() + b"\0"
        return b"\x02" + key + struct.pack("<i", len(text)) + text
    if isinstance(value, list):
        return b"\x04" + key + encode({str(i): item for i, item in enumerate(value)})
    if isinstance(value, dict):
        return b"\x03" + key + encode(value)
    raise TypeError(f"{name}: no BSON form for {type(value).__name__}")


FIXED_WIDTH = {0x01: "<d", 0x08: "<?", 0x09: "<q", 0x10: "<i", 0x11: "<Q", 0x12: "<q"}


def decode(data, at=0):
    end = at + struct.unpack_from("<i", data, at)[0] - 1
    at += 4
    document = {}
    while at < end:
        kind = data[at]
        name_end = data.index(b"\0", at + 1)
        name = data[at + 1 : name_end].decode()
        document[name], at = decode_value(kind, data, name_end + 1)
    return document, end + 1


def decode_value(kind, data, at):
    if kind in FIXED_WIDTH:
        form = FIXED_WIDTH[kind]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if kind == 0x02:
        start, size = at + 4, struct.unpack_from("<i", data, at)[0]
        return data[start : start + size - 1].decode(), start + size
    if kind == 0x03:
        return decode(data, at)
    if kind == 0x04:
        items, after = decode(data, at)
        return list(items.values()), after
    if kind == 0x05:
        start, size = at + 5, struct.unpack_from("<i", data, at)[0]
        return data[start : start + size].hex(), start + size
    if kind == 0x07:
        return data[at : at + 12].hex(), at + 12
    if kind == 0x0A:
        return None, at
    raise ValueError(f"BSON type {kind:#x} in the reply is not supported")


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("mongod closed the connection")
        data += part
    return data


def run(port, database, command):
    body = struct.pack("<IB", 0, 0) + encode({**command, "$db": database})
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(struct.pack("<iiii", len(body) + 16, 1, 0, 2013) + body)
        size = struct.unpack("<i", read_exactly(connection, 4))[0]
        reply = read_exactly(connection, size - 4)
    # The rest of the header (12 bytes), the flags (4) and the section's kind (1) come before the document.
    return decode(reply, 17)[0]


if __name__ == "__main__":
    try:
        reply = run(int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
    except OSError as error:
        sys.exit(f"mongod on port {sys.argv[1]} cannot be reached: {error}")
    print(json.dumps(reply))
    sys.exit(0 if reply.get("ok") == 1 else 1)
