"""The server of the page: its socket, its address with the token, and its end on Ctrl-C."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from ..console import message
from ..errors import InputError
from .access import Access, is_loopback
from .examples import find_examples
from .limits import AppLimits
from .served_run import open_runs
from .web import application

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7860
_GRACE_SECONDS = 3


def build(
    runs: Sequence[str | Path],
    *,
    examples: Path | None = None,
    limits: AppLimits | None = None,
    access: Access | None = None,
    device: str = "auto",
) -> Starlette:
    """Return the page of trained runs as an ASGI application; anyone who can reach it may use it.

    Args:
        runs: run folders.
        examples: a folder of videos to offer.
        limits: on uploads and the queue.
        access: rules that restrict its use.
        device: of torch, or `auto`.

    Raises InputError for a run that cannot be opened, and for a folder without videos.
    """
    found = find_examples(examples)
    return application(open_runs(runs, device=device), examples=found, limits=limits, access=access)


def serve(
    runs: Sequence[str | Path],
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    token: str | None = None,
    examples: Path | None = None,
    limits: AppLimits | None = None,
    device: str = "auto",
    open_browser: bool = False,
    on_address: Callable[[str], None] = message,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        runs: run folders.
        host: name or address to listen on. Other than on this machine's own, requests need a token.
        port: 0 for any free one.
        token: at least 16 characters; a random one where it is needed and not given.
        examples: a folder of videos to offer.
        limits: on uploads and the queue.
        device: of torch, or `auto`.
        open_browser: open the page in a browser.
        on_address: called with the address, including the token, once the server is ready.

    Raises InputError as `build` and `Access` do, and for an address that cannot be used.
    """
    local = is_loopback(host)
    if token is None and not local:
        token = secrets.token_urlsafe(24)
    access = Access(token=token, loopback_only=local)
    found = find_examples(examples)
    with _listen(host, port) as listening:  # before the runs are opened, which takes seconds
        address = _address(host, listening.getsockname()[1], token)

        def ready() -> None:
            on_address(address)
            message("Ctrl-C ends the server")
            if open_browser:
                webbrowser.open(address)

        app = application(
            open_runs(runs, device=device, on_run=lambda name: message(f"loading {name}")),
            examples=found,
            limits=limits,
            access=access,
            place="this computer" if local else "the server",
            on_start=ready,
        )
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,  # it would show the token
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
    message("stopped; uploads and results are deleted")


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises InputError when the address cannot be used."""
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{host} port {port} cannot be used: {reason}; choose another port, or 0") from None


def _address(host: str, port: int, token: str | None) -> str:
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}/" + ("" if token is None else f"?token={token}")
