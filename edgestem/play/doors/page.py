"""The page for a phone: one file, commands by POST, the state by server-sent events.

Who may: a token, in the address that is shown once and then in a cookie; `Host` has to
be one of our own names (a foreign site that points its name at us is refused) and
`Origin`, where a browser sends one, the same.  The show's lock keeps edits away.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edgestem.errors import EdgestemError
from edgestem.play.commands import Console, Refused
from edgestem.play.doors.qr import MAX_BYTES, qr_code, to_lines
from edgestem.play.doors.token import new_token
from edgestem.play.waves import waves

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"
PORT = 8766
COOKIE = "edgestem"
MAX_BODY = 500  # bytes of a command
MAX_LISTENERS = 40
LOOK_S = 0.1  # between two looks for news
HEARTBEAT_S = 15.0
STALL_S = 10.0  # a phone that takes nothing for so long is let go


class Page:
    """A door of the console.

    Parameters
    ----------
    console : Console
    say : callable
    is_lan : bool
        For other machines too; else for this one only.
    port : int
        0: any that is free.
    token : str, optional
        Of phones that are known; else a new one.

    Raises
    ------
    EdgestemError
        `os_error`: the port is taken.
    """

    def __init__(
        self,
        console: Console,
        say: Callable[[str], None],
        *,
        is_lan: bool = False,
        port: int = PORT,
        token: str = "",
    ) -> None:
        self.console = console
        self.token = token or new_token()
        self.is_over = threading.Event()
        self.n_listeners = 0
        self._news, self._news_at = "", 0.0
        self._writing = threading.Lock()
        self._is_lan = is_lan
        self._say = say
        try:
            host = EVERYWHERE if is_lan else LOOPBACK
            self._server = _Server((host, port), self)
        except OSError as cause:
            raise EdgestemError(
                f"no page on port {port}: {cause.strerror}; name another: --page PORT",
                code="os_error",
            ) from cause
        self.port = self._server.server_address[1]
        names = {"127.0.0.1", "localhost", "[::1]"}
        self._shown = "127.0.0.1"
        if is_lan:
            self._shown = own_address()
            own = socket.gethostname()
            names |= {self._shown, own, f"{own.split('.')[0]}.local"}
        self.hosts = {f"{name}:{self.port}".lower() for name in names}
        if self.port == 80:
            self.hosts |= {name.lower() for name in names}
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="page", daemon=True
        )

    @property
    def address(self) -> str:
        """What to open on the phone."""
        return f"http://{self._shown}:{self.port}/?t={self.token}"

    def news(self) -> str:
        """Tell the whole state as JSON, written once for all phones that look now."""
        with self._writing:
            if time.monotonic() - self._news_at > LOOK_S / 2:
                self._news = json.dumps(self.console.status())
                self._news_at = time.monotonic()
            return self._news

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()
        self._say(f"page: {self.address}")
        if self._is_lan and sys.stderr.isatty() and len(self.address) <= MAX_BYTES:
            for line in to_lines(qr_code(self.address)):
                self._say(line)

    def close(self) -> None:
        """End."""
        self.is_over.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], page: Page) -> None:
        self.page = page
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a phone went away in the middle of an answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = STALL_S
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        page, url = self.server.page, urlsplit(self.path)
        if not self._is_own_host():
            return
        given = parse_qs(url.query).get("t", [""])[0]
        if url.path == "/" and self._is_token(given):
            cookie = f"{COOKIE}={page.token}; Path=/; HttpOnly; SameSite=Strict"
            self._answer(303, "", {"Location": "/", "Set-Cookie": cookie})
            return
        if not self._is_known():
            return
        if url.path == "/":
            self._page()
        elif url.path == "/events":
            self._events()
        elif url.path == "/state":
            self._answer(200, json.dumps(page.console.status()), JSON)
        elif url.path == "/waves":
            self._answer(200, json.dumps(waves(page.console.player.track)), JSON)
        else:
            self._answer(404, "there is nothing of that name")

    def do_POST(self) -> None:
        if not self._is_own_host() or not self._is_known():
            return
        try:
            n = int(self.headers.get("Content-Length", ""))
        except ValueError:
            n = -1
        if urlsplit(self.path).path != "/do" or not 0 < n <= MAX_BODY:
            self.close_connection = True
            self._answer(400, "expected a command for /do")
            return
        line = self.rfile.read(n).decode(errors="replace")
        try:
            said = self.server.page.console.do(line, is_master=False)
        except Refused as error:
            self._answer(409, str(error))
            return
        self._answer(200, said)

    # ---- who asks --------------------------------------------------------------

    def _is_own_host(self) -> bool:
        hosts = self.server.page.hosts
        host = (self.headers.get("Host") or "").lower()
        origin = (self.headers.get("Origin") or "").lower()
        is_own = host in hosts and origin in ("", f"http://{host}")
        if not is_own:
            self.close_connection = True
            self._answer(403, "this is not the player's own page")
        return is_own

    def _is_known(self) -> bool:
        cookie: SimpleCookie = SimpleCookie()
        with contextlib.suppress(CookieError):
            cookie.load(self.headers.get("Cookie", ""))
        given = cookie[COOKIE].value if COOKIE in cookie else ""
        if self._is_token(given) or self._is_token(self.headers.get("X-Token", "")):
            return True
        self.close_connection = True
        self._answer(401, "open the address that the player shows")
        return False

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.server.page.token.encode())

    # ---- answers -----------------------------------------------------------------

    def _answer(
        self, status: int, text: str, headers: dict[str, str] | None = None
    ) -> None:
        data = text.encode()
        self.send_response(status)
        said = {"Content-Type": "text/plain; charset=utf-8"} | COMMON | (headers or {})
        for name, value in said.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(12)
        text = (files("edgestem.play.doors") / "page.html").read_text("utf-8")
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
            "; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": policy,
        }
        self._answer(200, text.replace("NONCE", nonce), headers)

    def _events(self) -> None:
        """Tell the whole state whenever it changes, until the phone goes."""
        page = self.server.page
        if page.n_listeners >= MAX_LISTENERS:
            self.close_connection = True
            self._answer(503, "too many phones")
            return
        page.n_listeners += 1
        self.close_connection = True
        try:
            self.send_response(200)
            for name, value in (COMMON | EVENTS).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"retry: 1000\n\n")
            self._tell(page)
        except OSError:
            return
        finally:
            page.n_listeners -= 1

    def _tell(self, page: Page) -> None:
        told, told_at = "", 0.0
        while not page.is_over.wait(LOOK_S):
            text, now = page.news(), time.monotonic()
            if text != told:
                self.wfile.write(f"data: {text}\n\n".encode())
                told, told_at = text, now
            elif now - told_at > HEARTBEAT_S:
                self.wfile.write(b": still here\n\n")
                told_at = now
            self.wfile.flush()


JSON = {"Content-Type": "application/json"}
EVENTS = {"Content-Type": "text/event-stream", "Connection": "close"}
COMMON = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def own_address() -> str:
    """Tell by which address other machines reach this one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET: routed, never reached
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
