"""Access to `huggingface_hub`, and its errors in one line each."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from packaging.version import Version

from ..errors import InputError, StgcmaError
from ..shards.object_store import HUB_LOGIN
from .names import HubName

_OLDEST = Version("1.0")  # its client's errors are those that `hub_errors` knows
_INSTALL = 'pip install "stgcma[hub]"'


def hub_library() -> Any:
    """Return the module `huggingface_hub`. Raises InputError when it is missing or too old."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(f"the Hub needs huggingface_hub, which is not installed; {_INSTALL}") from error
    if Version(huggingface_hub.__version__) < _OLDEST:
        raise InputError(
            f"huggingface_hub is {huggingface_hub.__version__}, {_OLDEST} or later is needed; {_INSTALL}"
        )
    return huggingface_hub


def endpoint() -> str:
    """Return the address of the Hub: HF_ENDPOINT, else https://huggingface.co."""
    address: str = hub_library().constants.ENDPOINT
    return address


def web_address(name: HubName) -> str:
    """Return the address of the repository's page."""
    folder = "" if name.kind == "model" else f"{name.kind}s/"
    return f"{endpoint()}/{folder}{name.repo}"


@contextlib.contextmanager
def hub_errors(name: HubName) -> Iterator[None]:
    """Turn an error of `huggingface_hub` about `name` into a StgcmaError of one line that says what to do.

    Meanwhile the library's warnings are silent, and without a terminal also its progress bars.
    """
    library = hub_library()
    logging, utils = library.utils.logging, library.utils
    before, bars = logging.get_verbosity(), utils.are_progress_bars_disabled()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        utils.disable_progress_bars()
    try:
        yield
    except StgcmaError:
        raise
    except Exception as error:
        for cause in _chain(error):
            if (explained := _explained(name, cause)) is not None:
                raise explained from error
        raise
    finally:
        logging.set_verbosity(before)
        if not bars:
            utils.enable_progress_bars()


def is_unreachable(error: BaseException) -> bool:
    """Tell whether a request failed because the Hub cannot be reached, or does not work."""
    errors = hub_library().errors
    if isinstance(error, errors.HfHubHTTPError):
        return bool(error.response.status_code >= 500)
    return isinstance(error, errors.OfflineModeIsEnabled) or _of_client(error)


def _of_client(error: BaseException) -> bool:
    """Tell whether the library's HTTP client, whose name depends on the version, got no answer."""
    kinds = [kind for kind in type(error).__mro__ if kind.__name__ == "TransportError"]
    return any(kind.__module__.partition(".")[0] in ("httpx", "httpx2") for kind in kinds)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the causes of an error, the first one first, and the error last."""
    chain = [error]
    while (cause := _cause_of(chain[-1])) is not None and cause not in chain:
        chain.append(cause)
    yield from reversed(chain)


def _cause_of(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _explained(name: HubName, error: BaseException) -> StgcmaError | None:
    """Return the error of one line for an error of the library; None for one of another origin."""
    errors = hub_library().errors
    if isinstance(error, errors.OfflineModeIsEnabled):
        return StgcmaError(f"{name} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it")
    if isinstance(error, errors.GatedRepoError):
        return InputError(f"{name} is gated: ask for access at {web_address(name)}, and {HUB_LOGIN}")
    if isinstance(error, errors.RevisionNotFoundError):
        return InputError(f"{name}: the repository has no such revision")
    if isinstance(error, errors.RepositoryNotFoundError):
        return InputError(
            f"{name} does not exist, or is private and this account may not read it: {HUB_LOGIN}"
        )
    if isinstance(error, errors.HfHubHTTPError):
        return _explained_status(name, error)
    if isinstance(error, errors.HFValidationError | errors.LocalTokenNotFoundError):
        return InputError(f"{name}: {error}")
    if _of_client(error):
        reason = str(error) or type(error).__name__
        return StgcmaError(f"{name}: {endpoint()} cannot be reached: {reason}; try again later")
    if isinstance(error, errors.LocalEntryNotFoundError):
        return StgcmaError(f"{name} is not in the cache, and cannot be fetched: {error}")
    return None


def _explained_status(name: HubName, error: Any) -> StgcmaError:
    status = error.response.status_code
    said = error.server_message or str(error).splitlines()[0]
    if status == 401:
        return InputError(f"{name}: the Hub knows no account of this token, or there is none: {HUB_LOGIN}")
    if status == 403:
        return InputError(f"{name}: this account may not do that ({said}); use a token that may write there")
    if status == 400:
        return InputError(f"{name}: the Hub refuses the request: {said}")
    return StgcmaError(f"{name}: the Hub answers {status}: {said}; try again later")
