"""Who may ask: those with the token, at the address of this server, and no page of another origin.

A page elsewhere can make a browser send requests here, with the cookie if it is of this machine too. So the Host header
must be the address (against DNS rebinding), and an Origin that is sent must be this one.
"""

import contextlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CODE_SECONDS = 120  # in which a browser that was opened must come
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
ANYWHERE = ("0.0.0.0", "[::]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
KEEP, KEEP_NOT = "private, max-age=86400, immutable", "no-store"


def error(status: int, sentence: str) -> Response:
    """An error in JSON: one sentence, as the command line prints it."""
    return JSONResponse({"error": sentence}, status)


def in_address(host: str) -> str:
    """A host as browsers write it in an address: in lower case, IPv6 in its shortest form and in brackets."""
    with contextlib.suppress(ValueError):
        host = str(ipaddress.ip_address(host))
    host = host.lower()
    return f"[{host}]" if ":" in host else host


class Guard:
    """The application behind checks of Host, Origin and token; every answer gets the headers above.

    cookie  whether a browser may have the token as a cookie, which GET /?token=TOKEN sets
    """

    def __init__(self, app: ASGIApp, token: str, host: str, port: int, cookie: bool) -> None:
        self.app, self.token = app, token.encode()
        self._codes: dict[str, float] = {}
        self.cookie = f"openjepa_{port}" if cookie else ""  # cookies are shared by all ports of a host
        named = in_address(host)
        names = {named, *LOOPBACK} if named in LOOPBACK or named in ANYWHERE else {named}
        self.anywhere = named in ANYWHERE and not cookie
        self.hosts = {f"{name}:{port}" for name in names} | (names if port == 80 else set())

    def code(self) -> str:
        """A code that GET /?token=CODE takes once in place of the token, within `CODE_SECONDS`."""
        code = secrets.token_urlsafe(24)
        self._codes[code] = time.monotonic() + CODE_SECONDS
        return code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", KEEP_NOT)
            await send(message)

        answer = self.refusal(scope) or self.entered(scope)
        await (answer or self.app)(scope, receive, sent)

    def refusal(self, scope: Scope) -> Response | None:
        """Why a request is refused; None for one that may go on."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if not self.anywhere and host not in self.hosts:
            return error(403, "this server answers to its own address alone: use the one that was printed")
        if origin is not None and origin.lower() != f"http://{host}":
            return error(403, "pages of other origins may not ask this server")
        inner = scope["path"] != "/"
        if inner and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return error(403, "pages of other origins may not ask this server")
        if not self.known(self.given(scope, headers)):
            return error(401, "this needs the token: open the address that was printed, or send it as a Bearer token")
        return None

    def given(self, scope: Scope, headers: Headers) -> Iterable[str]:
        """The tokens that a request has."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            yield token.strip()
        if self.cookie:
            yield from self._of_browser(scope, headers)

    def _of_browser(self, scope: Scope, headers: Headers) -> Iterable[str]:
        if scope["path"] == "/":
            for given in parse_qs(scope["query_string"].decode("latin-1")).get("token", []):
                yield self.token.decode() if self._codes.pop(given, 0) > time.monotonic() else given
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return
        if found is not None:
            yield found.value

    def known(self, tokens: Iterable[str]) -> bool:
        return any(hmac.compare_digest(token.encode("utf-8", "replace"), self.token) for token in tokens)

    def entered(self, scope: Scope) -> Response | None:
        """For the address with the token: the token becomes a cookie, and the browser goes to the address without."""
        if not self.cookie or scope["path"] != "/" or b"token=" not in scope["query_string"]:
            return None
        answer = Response(status_code=303, headers={"Location": "/"})
        answer.set_cookie(self.cookie, self.token.decode(), httponly=True, samesite="strict", path="/")
        return answer
