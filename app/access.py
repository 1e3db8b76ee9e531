"""Access to the page: the token, the host name, requests of other sites, and headers of responses."""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import InputError

FEWEST_TOKEN_CHARACTERS = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")  # the same in addresses, cookies and headers
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_REFUSED = "This page needs its token: open the address that `stgcma serve` printed.\n"


def is_loopback(host: str) -> bool:
    """Return True for a name or address that only this machine can reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Access:
    """Rules of access.

    Attributes:
        token: without it, every request is refused; None for no token. At least 16 characters.
        loopback_only: refuse requests under other host names than this machine's. Otherwise the page of
            another site could reach the server under a name of its own that resolves to 127.0.0.1.
        frame_ancestors: sites that may show the page in a frame.

    Raises InputError for a token that is short, or has characters other than letters, digits, `.`, `_`, `~`
    and `-`.
    """

    token: str | None = None
    loopback_only: bool = False
    frame_ancestors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.token is None:
            return
        if len(self.token) < FEWEST_TOKEN_CHARACTERS:
            raise InputError(
                f"token has {len(self.token)} characters, at least {FEWEST_TOKEN_CHARACTERS} are needed"
            )
        if not _TOKEN.fullmatch(self.token):
            raise InputError("token has characters other than letters, digits, '.', '_', '~' and '-'")

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every response. The policy lets the page load from its own server only."""
        ancestors = " ".join(self.frame_ancestors) or "'none'"
        return {
            "Content-Security-Policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
                f"frame-ancestors {ancestors}"
            ),
            "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
            "Referrer-Policy": "no-referrer",  # the first address holds the token
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }


class AccessMiddleware:
    """Refuse requests that `access` does not allow, before any of their body is read.

    A request has access with the token as `Authorization: Bearer TOKEN`, as the cookie that the first page
    sets, or as `?token=TOKEN` of the page's address, which then redirects to the address without it.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        else:

            async def send_with_headers(sent: Message) -> None:
                if sent["type"] == "http.response.start":
                    MutableHeaders(scope=sent).update(self._access.headers)
                await send(sent)

            answer = self._refusal(scope) or self._app
            await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._access.loopback_only and not is_loopback(_host_name(host)):
            return PlainTextResponse(f"This server is not {host}.\n", status_code=421)
        origin = headers.get("origin")
        if scope["method"] not in _SAFE_METHODS and origin is not None and origin.partition("://")[2] != host:
            return PlainTextResponse("Requests of other sites are refused.\n", status_code=403)
        return None if self._access.token is None else self._without_token(scope, self._access.token)

    def _without_token(self, scope: Scope, token: str) -> Response | None:
        headers = Headers(scope=scope)
        cookie = f"stgcma-{(scope.get('server') or ('', 0))[1]}"  # cookies ignore ports
        given = cookie_parser(headers.get("cookie", "")).get(cookie, "")
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given = credentials.strip()
        if _equal(given, token):
            return None
        named = QueryParams(scope["query_string"]).get("token", "")
        if scope["path"] == "/" and _equal(named, token):
            opened = RedirectResponse("./", status_code=303)
            # Lax: with Strict, a link in a chat would open the page without its cookie.
            opened.set_cookie(cookie, token, httponly=True, samesite="lax")
            return opened
        return PlainTextResponse(_REFUSED, status_code=401, headers={"WWW-Authenticate": "Bearer"})


def _host_name(host: str) -> str:
    """Return a `Host` header without its port; an empty text for one that is malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _equal(given: str, token: str) -> bool:
    """Compare in a time that does not depend on the position of the first difference."""
    return hmac.compare_digest(given.encode(), token.encode())
