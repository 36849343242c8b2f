"""The bench compares ingest-api with this program: the same endpoint in FastAPI, with confluent-kafka.

In: POST /v1/frames?stream=NAME with an image as the body and a bearer token. Out: the image on a Kafka topic with the same headers
and key as from ingest-api, and 202 with the frame's id after the broker has acknowledged it (acks=all, idempotent).

It intentionally does only what the response needs, in the fastest way: one process with uvloop and httptools, a
response without model validation, no access log, and one wake-up of the event loop for all acknowledgements
that arrive together.
"""

import asyncio
import hmac
import os
import struct
import sys
import threading
import uuid
from collections import deque
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Annotated

import uvicorn
from confluent_kafka import KafkaException, Message, Producer
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.responses import JSONResponse

TOKEN = os.environ["PEER_TOKEN"].encode()
TOPIC = os.environ["PEER_TOPIC"]
TENANT = os.environ["PEER_TENANT"]
MAX_BYTES = 8 << 20
MAX_INLINE = 1 << 20
MAX_PIXELS = 25_000_000


class Publisher:
    """Sends messages. A thread polls librdkafka for acknowledgements and passes them to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self.loop = loop
        # The same settings as ingest-api's.
        self.producer = Producer(
            {
                "bootstrap.servers": os.environ["PEER_KAFKA_BROKERS"],
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 2,
                "delivery.timeout.ms": 45_000,
                "batch.size": 1_000_000,
                "message.max.bytes": 1_327_104,
                "queue.buffering.max.kbytes": 65_536,
            }
        )
        self.acknowledged: deque[tuple[asyncio.Future[None], KafkaException | None]] = deque()
        self.stopping = False
        self.thread = threading.Thread(target=self.poll, daemon=True)
        self.thread.start()

    def publish(self, key: str, value: bytes, headers: list[tuple[str, str]]) -> asyncio.Future[None]:
        future = self.loop.create_future()
        self.producer.produce(TOPIC, value, key, headers=headers, on_delivery=partial(self.delivered, future))
        return future

    def delivered(self, future: asyncio.Future[None], error, _: Message) -> None:
        is_scheduled = bool(self.acknowledged)
        self.acknowledged.append((future, KafkaException(error) if error else None))
        if not is_scheduled:
            self.loop.call_soon_threadsafe(self.complete_futures)

    def complete_futures(self) -> None:
        while self.acknowledged:
            future, error = self.acknowledged.popleft()
            if future.done():
                continue
            if error:
                future.set_exception(error)
            else:
                future.set_result(None)

    def poll(self) -> None:
        while not self.stopping:
            self.producer.poll(0.1)

    def close(self) -> None:
        self.producer.flush(45)
        self.stopping = True
        self.thread.join()


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.publisher = Publisher(asyncio.get_running_loop())
    yield
    await asyncio.to_thread(app.state.publisher.close)


app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)


async def caller(authorization: Annotated[str, Header()] = "") -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), TOKEN):
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    return TENANT


@app.get("/readyz")
async def ready() -> dict[str, str]:
    return {"status": "ready"}


@app.post("/v1/frames")
async def submit(
    request: Request,
    tenant: Annotated[str, Depends(caller)],
    content_type: Annotated[str, Header()],
    stream: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = None,
) -> JSONResponse:
    if int(request.headers.get("content-length", 0)) > MAX_BYTES:
        raise HTTPException(413)
    image = await request.body()
    if len(image) > MAX_INLINE:
        raise HTTPException(413)
    media_type, width, height = probe(image)
    if media_type != content_type or not 0 < width * height <= MAX_PIXELS:
        raise HTTPException(415 if media_type != content_type else 422)
    frame_id = str(uuid.uuid4())
    headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", frame_id),
        ("ce_type", "sightline.frame.v1"),
        ("ce_source", "/sightline/ingest-api"),
        ("ce_time", datetime.now(UTC).isoformat()),
        ("content-type", media_type),
        ("ce_tenant", tenant),
    ]
    if stream:
        headers.append(("ce_stream", stream))
    key = f"{tenant}/{stream}" if stream else frame_id
    try:
        await request.app.state.publisher.publish(key, image, headers)
    except (BufferError, KafkaException) as error:
        raise HTTPException(503, headers={"Retry-After": "1"}) from error
    url = f"/v1/frames/{frame_id}"
    return JSONResponse({"frame_id": frame_id, "stream": stream, "results_url": url}, 202, {"Location": url})


def probe(image: bytes) -> tuple[str, int, int]:
    """Reads the type, width and height from an image's header; decodes nothing."""
    try:
        if image.startswith(b"\xff\xd8\xff"):
            return "image/jpeg", *jpeg_size(image)
        if image.startswith(b"\x89PNG\r\n\x1a\n"):
            return "image/png", *struct.unpack_from(">II", image, 16)
        if image.startswith(b"RIFF") and image[8:16] == b"WEBPVP8X":
            return "image/webp", *(1 + int.from_bytes(image[at : at + 3], "little") for at in (24, 27))
        if image.startswith(b"RIFF") and image[8:16] == b"WEBPVP8 ":
            return "image/webp", *(side & 0x3FFF for side in struct.unpack_from("<HH", image, 26))
        if image.startswith(b"RIFF") and image[8:16] == b"WEBPVP8L":
            (bits,) = struct.unpack_from("<I", image, 21)
            return "image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    except (struct.error, IndexError):
        raise HTTPException(422) from None
    raise HTTPException(415)


def jpeg_size(image: bytes) -> tuple[int, int]:
    at = 2
    while True:
        while image[at] != 0xFF or image[at + 1] == 0xFF:
            at += 1
        marker = image[at + 1]
        if marker in (0xD9, 0xDA):
            raise HTTPException(422)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", image, at + 5)
            return width, height
        if marker <= 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", image, at + 2)[0]


if __name__ == "__main__":
    packages = ["fastapi", "uvicorn", "uvloop", "httptools", "confluent-kafka"]
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {python}, " + ", ".join(f"{name} {version(name)}" for name in packages), flush=True)
    uvicorn.run(
        app,
        port=int(os.environ["PEER_PORT"]),
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
    )
