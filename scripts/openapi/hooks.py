"""Information for schemathesis that the document lacks: how images begin, and which operations need no credential."""

import struct
import zlib

import schemathesis
from hypothesis import strategies as st


def png(width: int, height: int, shade: int) -> bytes:
    """A grey image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + bytes([shade]) * width) * height
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


def jpeg_head(width: int, height: int) -> bytes:
    """A JPEG header without image data: it is accepted, and the detectors cannot decode it."""
    frame = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03"
    return b"\xff\xd8\xff\xe0\x00\x04ab" + frame + b"Z" * 64


side = st.integers(1, 64)
schemathesis.openapi.media_type("image/png", st.builds(png, side, side, st.integers(0, 255)))
schemathesis.openapi.media_type("image/jpeg", st.builds(jpeg_head, side, side))
schemathesis.openapi.media_type("image/webp", st.binary(max_size=64))

# A chunk of a tus upload.
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


# Operations that need no credential. A test of ingest-api, and one of shop-api, check the document against the same list.
OPEN_TO_ALL = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/.well-known/jwks.json"),
    ("POST", "/v1/users"),
    ("POST", "/v1/token"),
    ("POST", "/v1/token/revoke"),
    ("GET", "/v1/oidc/login"),
    ("GET", "/v1/oidc/callback"),
    ("POST", "/v1/oidc/id-token"),
    ("POST", "/v1/password/forgot"),
    ("POST", "/v1/password/reset"),
    ("POST", "/users"),
    ("POST", "/token"),
    ("POST", "/login"),
    ("GET", "/v1/hello"),
    ("GET", "/v2/hello"),
    # The credential of these is the token in their path.
    ("GET", "/v1/media/{token}"),
    ("HEAD", "/v1/uploads/{token}"),
    ("PATCH", "/v1/uploads/{token}"),
    ("POST", "/v1/uploads/{token}"),
    ("PUT", "/v1/uploads/{token}"),
    ("DELETE", "/v1/uploads/{token}"),
    # What the server's tus can do.
    ("OPTIONS", "/v1/uploads"),
    ("OPTIONS", "/v1/uploads/{token}"),
}


@schemathesis.check
def anonymous_requests_get_401(ctx, response, case) -> None:
    """Without a credential, an operation that needs one responds 401, or 405 for a wrong method."""
    open_to_all = (case.operation.method.upper(), case.operation.path) in OPEN_TO_ALL
    if response.status_code not in (401, 405) and not open_to_all:
        raise AssertionError(f"{response.status_code} without a credential")
