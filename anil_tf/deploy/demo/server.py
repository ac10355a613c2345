"""HTTP around the service: the page's files, five requests, and what is refused.

It needs only the standard library, asks nothing of other hosts, writes nothing, and serves no file but
the page's own, which are read when it starts. A web page elsewhere cannot use it through a visitor's
browser: the Host header must not be a stranger's name (DNS rebinding), requests that change something
must come from the page itself, and the page may load nothing from anywhere else (content security policy).
"""

from __future__ import annotations

import contextlib
import http.server
import importlib.resources
import ipaddress
import json
import pathlib
import re
import socket
import socketserver
import sys
import urllib.parse
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from anil_tf.deploy.demo.service import Forgotten, Service

MAX_UPLOAD = 20 * 2**20  # bytes
# Addresses that documentation may use and nobody has (RFC 5737, RFC 3849): asked for the way to them, never sent to.
_UNUSED_ADDRESSES = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
_MOST_DISCARDED = 4 * MAX_UPLOAD  # of a refused upload, so that the browser gets to read why
_CHUNK = 2**16
_LENGTH = re.compile(r"[0-9]{1,12}")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class DemoServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves the page and its requests, each connection on a thread of its own."""

    daemon_threads = True
    request_queue_size = 32
    service: Service

    def __init__(self, host: str, port: int):
        """Binds the address; nothing is answered before `serve`.

        Args:
            host: a name or an address, such as 127.0.0.1, or 0.0.0.0 for every network.
            port: its port; 0 takes any that is free.

        Raises:
            OSError: if there is no such host, or the port is taken.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        address = cast(tuple[str, int], found[0][-1])
        self.host = host
        self.verbose = False
        self.files = _page_files()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Binds without HTTPServer's look-up of the machine's name, which may ask the network."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Passes over connections that a browser broke off; says anything else in one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            print(f"demo.py: {type(error).__name__}: {error}", file=sys.stderr)

    @property
    def url(self) -> str:
        """Where the page is, for a browser on this machine."""
        if self._address.is_unspecified:
            return self._url("127.0.0.1" if self.address_family == socket.AF_INET else "::1")
        return self._url(self.host)

    @property
    def url_elsewhere(self) -> str | None:
        """Where the page is for other devices of the network; None if there is no telling."""
        if self.is_local:
            return None
        if not self._address.is_unspecified:
            return self.url
        address = _own_address(self.address_family)
        return self._url(address) if address else None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self._address.is_loopback

    def _url(self, host: str) -> str:
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}/"

    @property
    def _address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        return ipaddress.ip_address(str(self.server_address[0]))

    def serve(self, service: Service, *, verbose: bool = False) -> None:
        """Answers until interrupted.

        Args:
            service: the model behind the page.
            verbose: print a line per request.
        """
        self.service, self.verbose = service, verbose
        self.serve_forever()

    def accepts_host(self, host_header: str | None) -> bool:
        """Whether a Host header is an address, localhost, the name that was given, or the machine's.

        The machine's name counts where others can reach it, as it is and under .local. Another name
        means that somebody's domain was made to point here, to have a visitor's browser take this
        server for theirs.
        """
        host = re.sub(r":[0-9]*$", "", host_header or "").lower()  # without the port
        if host in {"localhost", self.host.lower()} | (set() if self.is_local else _own_names()):
            return True
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return True


class _Refusal(Exception):
    """An answer that is not what was asked for."""

    def __init__(self, status: HTTPStatus, text: str):
        super().__init__(text)
        self.status = status


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection's requests."""

    server: DemoServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "anil_tf", ""
    timeout = 30  # seconds that a silent connection is kept
    wbufsize = -1  # an answer leaves in one piece

    def do_GET(self) -> None:
        """A file of the page, or facts of the model."""
        self._answer(self._get)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """A request of the page."""
        self._answer(self._post)

    def _get(self) -> tuple[str, bytes]:
        path = urllib.parse.urlsplit(self.path).path
        if path == "/api/model":
            return _json(self.server.service.about(MAX_UPLOAD))
        if path not in self.server.files:
            raise _Refusal(HTTPStatus.NOT_FOUND, "there is no such page here.")
        return self.server.files[path]

    def _post(self) -> tuple[str, bytes]:
        self._refuse_other_pages()
        service = self.server.service
        path = urllib.parse.urlsplit(self.path).path
        if path == "/api/image":
            return _json(service.prepare(self._body("application/octet-stream")))
        requests: dict[str, tuple[Callable[..., dict[str, Any]], tuple[str, ...]]] = {
            "/api/adapt": (service.adapt, ("images", "labels")),
            "/api/predict": (service.predict, ("state", "images")),
            "/api/confusion": (service.confusion, ("images", "labels")),
        }
        if path not in requests:
            raise _Refusal(HTTPStatus.NOT_FOUND, "there is no such request here.")
        respond, names = requests[path]
        body = self._body("application/json")
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError):
            raise ValueError("expected JSON.") from None
        if not isinstance(fields, dict) or set(fields) != set(names):
            raise ValueError(f"expected a JSON object with {' and '.join(names)}.")
        return _json(respond(**fields))

    def _refuse_other_pages(self) -> None:
        """Refuses what another site's page sends; programs without a browser send no Origin."""
        origin = self.headers.get("Origin")
        same = origin is None or urllib.parse.urlsplit(origin).netloc == self.headers.get("Host")
        fetched = self.headers.get("Sec-Fetch-Site", "same-origin")
        if not same or fetched not in ("same-origin", "none"):
            raise _Refusal(HTTPStatus.FORBIDDEN, "only this server's own page may ask for this.")

    def _body(self, content_type: str) -> bytes:
        """Reads what was sent, if it is of the right type and not too long."""
        if self.headers.get_content_type() != content_type:
            # A form of another site can send neither of the two types without asking first.
            raise _Refusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected Content-Type: {content_type}."
            )
        length = self._length()
        if length is None:
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length.")
        if length > MAX_UPLOAD:
            raise _Refusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"this is too large: expected at most {MAX_UPLOAD / 2**20:.0f} MiB, received "
                f"{length / 2**20:.1f} MiB.",
            )
        body = self.rfile.read(length)
        self._unread = 0
        if len(body) < length:
            raise _Refusal(HTTPStatus.BAD_REQUEST, "the upload broke off.")
        return body

    def _length(self) -> int | None:
        """The body's announced length; None where it is missing, no number, or said twice."""
        texts = self.headers.get_all("Content-Length", [])
        return int(texts[0]) if len(texts) == 1 and _LENGTH.fullmatch(texts[0]) else None

    def _answer(self, ask: Callable[[], tuple[str, bytes]]) -> None:
        """Sends what `ask` returns, or says why not."""
        self._unread = self._length() or 0
        status = HTTPStatus.OK
        try:
            if not self.server.accepts_host(self.headers.get("Host")):
                raise _Refusal(
                    HTTPStatus.FORBIDDEN,
                    "this server does not go by that name; ask for it by its address, or start it "
                    "with --host=NAME.",
                )
            content_type, content = ask()
        except _Refusal as refusal:
            status, text = refusal.status, str(refusal)
        except Forgotten as error:
            status, text = HTTPStatus.GONE, str(error)
        except ValueError as error:
            status, text = HTTPStatus.BAD_REQUEST, " ".join(str(error).split())
        except (ConnectionError, TimeoutError):  # nobody is left to be answered
            raise
        except Exception as error:  # the server goes on, and the page can say what happened
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            print(f"demo.py: {text}", file=sys.stderr)
        if status != HTTPStatus.OK:
            content_type, content = _json({"error": text})
        self._discard_body()
        self._send(status, content_type, content)

    def _discard_body(self) -> None:
        """Reads what is left of a refused upload: a connection closed on it loses the answer.

        Where its end is not known, or far, the connection is closed all the same: what is left must
        not be taken for the next request.
        """
        unknown = "Transfer-Encoding" in self.headers or (
            "Content-Length" in self.headers and self._length() is None
        )
        if unknown or self._unread > _MOST_DISCARDED:
            self.close_connection = True
            return
        while self._unread > 0:
            piece = self.rfile.read(min(_CHUNK, self._unread))
            if not piece:
                self.close_connection = True
                return
            self._unread -= len(piece)

    def _send(self, status: HTTPStatus, content_type: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers a request that is no proper HTTP, or has an unknown method."""
        self.close_connection = True
        status = HTTPStatus(code)
        self._send(status, *_json({"error": f"{status.phrase}."}))

    def log_message(self, format: str, *args: Any) -> None:
        """Prints a request where that was asked for."""
        if self.server.verbose:
            super().log_message(format, *args)


def _json(value: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(value, allow_nan=False).encode()


def _own_address(family: int) -> str | None:
    """This machine's address in its network. Connecting a datagram socket sends nothing."""
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((_UNUSED_ADDRESSES[socket.AddressFamily(family)], 9))
        address = str(probe.getsockname()[0])
        return None if ipaddress.ip_address(address).is_loopback else address
    return None


def _own_names() -> set[str]:
    """What other devices may call this machine: its name, and that of multicast DNS."""
    name = socket.gethostname().lower()
    return {name, f"{name.partition('.')[0]}.local"}


def _page_files() -> dict[str, tuple[str, bytes]]:
    """Path to content type and content, of every file of the page."""
    folder = importlib.resources.files("anil_tf.deploy.demo").joinpath("page")
    files = {
        f"/{file.name}": (_TYPES[extension], file.read_bytes())
        for file in folder.iterdir()
        if (extension := pathlib.PurePath(file.name).suffix) in _TYPES
    }
    return files | {"/": files["/index.html"]}
