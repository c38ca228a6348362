"""A local page for one person: drop an image on it and see what the nets make of it.

It listens on loopback alone and answers to its own name alone, so that no other site's page can reach it, neither by a
name that leads here (DNS rebinding) nor by a request across sites. What is uploaded is judged by its size while it
arrives, then by its header, before any pixel of it is decoded.
"""

import asyncio
import io
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imagefeed.jobs.report.html import STYLE
from imagefeed.jobs.report.pictures import data_url, response_picture, thumbnail
from imagefeed.jobs.serving.neighbourhood import Neighbourhood
from imagefeed.jobs.serving.predictor import Predictor
from imagefeed.pipeline.image.pillow import BadImage, refusing, silence

HOST, NAMES = "127.0.0.1", ("127.0.0.1", "localhost")
MOST_BYTES = 20_000_000  # of an upload
MOST_PIXELS = 40_000_000
MOST_SCANS = 100  # of a progressive JPEG, which may cost the time of a whole image in a few bytes each; 10 are usual
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
UPLOAD_SECONDS = 30.0
MOST_CONNECTIONS = 32
TEMPLATES = Path(__file__).with_name("templates")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """An upload that is not judged: the HTTP status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def application(predictor: Predictor, about: str, neighbourhood: Neighbourhood | None = None) -> Starlette:
    """The page and what it asks. `about`: a line on the nets, for the page's head."""
    at_work = threading.Lock()  # a predictor is for one thread at a time

    def judged(data: bytes) -> dict[str, Any]:
        with at_work:
            return answer(predictor, neighbourhood, data)

    async def predict(request: Request) -> Response:
        try:
            check_origin(request)
            return JSONResponse(await run_in_threadpool(judged, await body_of(request)))
        except Refused as error:
            return JSONResponse({"error": str(error)}, error.status)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it

    values = {"about": about, "most_bytes": MOST_BYTES, "neighbours": neighbourhood is not None}
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    styles = STYLE.read_text() + (TEMPLATES / "predict.css").read_text()
    files = {
        "/": (environment.get_template("predict.html.j2").render(values), "text/html"),
        "/page.css": (styles, "text/css"),
        "/page.js": ((TEMPLATES / "predict.js").read_text(), "text/javascript"),
    }
    routes = [Route(path, fixed(*file)) for path, file in files.items()]
    middleware = [
        Middleware(WithHeaders),
        Middleware(TrustedHostMiddleware, allowed_hosts=list(NAMES), www_redirect=False),
    ]
    return Starlette(routes=[*routes, Route("/predict", predict, methods=["POST"])], middleware=middleware)


def fixed(content: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """What always answers the same."""

    async def endpoint(_: Request) -> Response:
        return Response(content, media_type=kind)

    return endpoint


class WithHeaders:
    """Every answer says what a browser may do with it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self.app(scope, receive, sending)


def check_origin(request: Request) -> None:
    """Raises `Refused` for a request that another site's page makes."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{request.headers['host']}":
        raise Refused(403, "another site's page may not ask here")


async def body_of(request: Request) -> bytes:
    """What was uploaded. Raises `Refused` as soon as it is too much or takes too long: no more is ever kept."""
    too_large = Refused(413, f"the file is larger than {MOST_BYTES // 1_000_000} MB: give a smaller picture")
    if int(request.headers.get("content-length", 0)) > MOST_BYTES:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            async for chunk in request.stream():
                if len(data) + len(chunk) > MOST_BYTES:
                    raise too_large
                data += chunk
    except TimeoutError:
        raise Refused(408, f"the upload took longer than {UPLOAD_SECONDS:.0f} seconds") from None
    return bytes(data)


def check_header(data: bytes) -> None:
    """Raises `Refused` unless `data` begins like an image of a usual format and of a size that can be decoded."""
    if not data:
        raise Refused(422, "the file is empty")
    try:
        with refusing(data), silence, Image.open(io.BytesIO(data), formats=FORMATS) as image:
            kind, width, height = image.format, image.width, image.height
    except BadImage as error:
        if "DecompressionBomb" in str(error):
            raise Refused(422, too_many("more than a hundred million")) from error
        raise Refused(
            415, f"this is no image that is read here: give a {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        ) from error
    if width * height > MOST_PIXELS:
        raise Refused(422, too_many(f"{width:,} x {height:,}"))
    # A marker's two bytes do not come within compressed data.
    if kind in ("JPEG", "MPO") and data.count(b"\xff\xda") > MOST_SCANS:
        raise Refused(422, f"the JPEG has more than {MOST_SCANS} scans, which no camera writes")


def too_many(pixels: str) -> str:
    """Why so many pixels are refused."""
    return f"the image has {pixels} pixels, more than the {MOST_PIXELS // 1_000_000} million that are decoded here"


def answer(predictor: Predictor, neighbourhood: Neighbourhood | None, data: bytes) -> dict[str, Any]:
    """What the page shows of an uploaded file. Raises `Refused`."""
    check_header(data)
    try:
        prepared = predictor.prepare(data)
    except BadImage as error:
        raise Refused(422, f"the image cannot be used: {error}") from error
    (guesses,) = predictor.predict([prepared])
    seen = predictor.inside(prepared)
    return {
        "top": [asdict(guess) for guess in guesses],
        "seen": data_url(thumbnail(prepared.pixels, 512)),
        "response": data_url(response_picture(seen.conv1)),
        "num_maps": len(seen.conv1),
        "neighbours": neighbourhood.nearest(seen.features) if neighbourhood is not None else [],
    }


def bound(port: int) -> socket.socket:
    """A listening socket on loopback. Raises `OSError` with the cure where the port is taken."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        raise OSError(f"port {port} of {HOST} cannot be had ({error.strerror}): give another --port, or 0") from error
    listening.listen()
    return listening


def server_of(app: Starlette) -> Any:
    """uvicorn's server of an application."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            http="h11",
            ws="none",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=2,
        )
    )


def serve(app: Starlette, port: int) -> None:
    """Serves until Ctrl-C. Raises `OSError` where the port cannot be had."""
    with bound(port) as listening:
        print(f"http://{HOST}:{listening.getsockname()[1]}/ shows the page; Ctrl-C ends it", flush=True)
        server_of(app).run(sockets=[listening])
