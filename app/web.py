"""The page and its API, as a Starlette application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ..errors import InputError
from ..public_paths import public_text
from .access import Access, AccessMiddleware
from .examples import Example
from .jobs import Job, JobQueue, Outcome, QueueFullError, State
from .limits import AppLimits
from .page import render_page, stylesheet
from .served_run import ServedRun
from .uploads import display_name, parse_number, receive_file

_SCRIPT = Path(__file__).parent / "static" / "app.js"
_MOST_QUESTION_CHARACTERS = 500
Item = TypeVar("Item")


class PageApp:
    """The handlers of the requests to one server."""

    def __init__(
        self, runs: Sequence[ServedRun], examples: Sequence[Example], limits: AppLimits, *, place: str
    ) -> None:
        self.runs, self.examples, self.limits = tuple(runs), tuple(examples), limits
        self.queue = JobQueue(limits)
        self._page = render_page(self.runs, self.examples, limits, place=place)
        self._style = stylesheet()

    def routes(self) -> list[Route]:
        """Return the routes of the page, of its files and of the API."""
        return [
            Route("/", self.page),
            Route("/static/app.css", self.style),
            Route("/static/app.js", self.script),
            Route("/examples/{number}", self.example),
            Route("/api/jobs", self.submit, methods=["POST"]),
            Route("/api/jobs/{id}", self.job),
            Route("/api/jobs/{id}", self.cancel, methods=["DELETE"]),
            Route("/api/jobs/{id}/{run}/archive", self.archive),
            Route("/api/jobs/{id}/{run}/files/{number}", self.file),
        ]

    async def page(self, request: Request) -> Response:  # noqa: ARG002
        """Return the page."""
        return HTMLResponse(self._page)

    async def style(self, request: Request) -> Response:  # noqa: ARG002
        """Return the style sheet."""
        return Response(self._style, media_type="text/css")

    async def script(self, request: Request) -> Response:  # noqa: ARG002
        """Return the script."""
        return FileResponse(_SCRIPT, media_type="text/javascript")

    async def example(self, request: Request) -> Response:
        """Return an example video."""
        return FileResponse(self._example(request.path_params["number"]).video)

    def _example(self, number: str) -> Example:
        return _numbered(self.examples, number, "example")

    async def submit(self, request: Request) -> Response:
        """Accept a video for prediction: the body, or an example.

        The query has `run` (a number, once for each run), `question`, and `name` of the file or `example`, a
        number.
        """
        runs, question = self._chosen(request)
        number = request.query_params.get("example")
        example = None if number is None else self._example(number)
        try:
            name, folder = self.queue.reserve()
        except QueueFullError:
            raise HTTPException(503, "Too many videos wait already; try again in a minute.") from None
        try:
            if example is not None:
                video, filename = example.video, example.video.name
            else:
                filename = display_name(request.query_params.get("name", ""))
                video = await receive_file(request, folder, filename, self.limits)
            if await request.is_disconnected():  # nobody would learn the id of the job
                return Response(status_code=400)
            job = self.queue.submit(name, video, filename, runs, question)
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            self.queue.release(name)
        return JSONResponse(self._state(job), status_code=201)

    def _chosen(self, request: Request) -> tuple[list[ServedRun], str]:
        """Return the runs and the question of a request. Raises HTTPException for any that cannot be used."""
        numbers = {parse_number(text) for text in request.query_params.getlist("run")}
        chosen = sorted(number for number in numbers if number is not None)
        if not chosen or len(chosen) < len(numbers) or chosen[-1] >= len(self.runs):
            raise HTTPException(400, "Choose at least one run of the list.")
        question = request.query_params.get("question", "").strip()
        if len(question) > _MOST_QUESTION_CHARACTERS:
            raise HTTPException(400, f"The question has more than {_MOST_QUESTION_CHARACTERS} characters.")
        runs = [self.runs[number] for number in chosen]
        for run in runs:
            try:
                run.check_question(question)
            except InputError as error:
                raise HTTPException(400, public_text(str(error), {str(run.folder): run.name})) from None
        return runs, question

    def _job(self, request: Request) -> Job:
        job = self.queue.get(request.path_params["id"])
        if job is None:
            raise HTTPException(404, "This prediction is deleted; repeat it.")
        return job

    async def job(self, request: Request) -> Response:
        """Return the state of a job."""
        return JSONResponse(self._state(self._job(request)))

    def _state(self, job: Job) -> dict[str, Any]:
        outcomes = tuple(job.outcomes)
        note = job.note or "predicting"
        if len(job.runs) > 1 and len(outcomes) < len(job.runs):
            note += f" with {job.runs[len(outcomes)].name}"
        return {
            "id": job.id,
            "state": job.state.value,
            "ahead": self.queue.position(job) if job.state is State.WAITING else 0,
            "progress": job.progress,
            "note": note,
            "video": job.filename,
            "outcomes": [_outcome(job.id, index, outcome) for index, outcome in enumerate(outcomes)],
        }

    async def cancel(self, request: Request) -> Response:
        """End a job, or delete a finished one."""
        if not await run_in_threadpool(self.queue.cancel, request.path_params["id"]):
            raise HTTPException(404, "This prediction is deleted.")
        return Response(status_code=204)

    def _result(self, request: Request) -> Any:
        result = _numbered(self._job(request).outcomes, request.path_params["run"], "result").result
        if result is None:
            raise HTTPException(404, "There is no such result.")
        return result

    async def archive(self, request: Request) -> Response:
        """Return the ZIP file of all result files of one run."""
        path = self._result(request).archive
        return FileResponse(path, media_type="application/zip", filename="results.zip")

    async def file(self, request: Request) -> Response:
        """Return a result file."""
        file = _numbered(self._result(request).files, request.path_params["number"], "file")
        return FileResponse(file.path)


def _numbered(items: Sequence[Item], text: str, noun: str) -> Item:
    """Return the item of the number that a request has as `text`. Raises HTTPException: 404 without one."""
    number = parse_number(text)
    if number is None or number >= len(items):
        raise HTTPException(404, f"There is no such {noun}.")
    return items[number]


def _outcome(job: str, index: int, outcome: Outcome) -> dict[str, Any]:
    run = {"run": outcome.run.name, "task": outcome.run.task, "preset": outcome.run.preset}
    if outcome.result is None:
        return run | {"failure": outcome.failure, "fault": outcome.fault.value}
    result, base = outcome.result, f"api/jobs/{job}/{index}"
    return run | {
        "headline": result.headline,
        "header": result.header,
        "rows": result.rows,
        "warnings": result.warnings,
        "files": [
            {"kind": one.kind, "title": one.title, "url": f"{base}/files/{number}"}
            for number, one in enumerate(result.files)
        ],
        "archive": f"{base}/archive",
    }


async def _error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Return an HTTPException as JSON with `detail`, which the page shows."""
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)


def application(
    runs: Sequence[ServedRun],
    *,
    examples: Sequence[Example] = (),
    limits: AppLimits | None = None,
    access: Access | None = None,
    place: str = "the server",
    on_start: Callable[[], None] = lambda: None,
) -> Starlette:
    """Return the application for opened runs; its queue works while its lifespan lasts.

    Args:
        runs: at least one.
        examples: videos to offer.
        limits: on uploads and the queue.
        access: rules of access; everybody who reaches the server when not given.
        place: where uploads are processed, for people.
        on_start: called when the server is ready.
    """
    page = PageApp(runs, examples, limits or AppLimits(), place=place)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with page.queue:
            on_start()
            yield

    return Starlette(
        routes=page.routes(),
        exception_handlers={HTTPException: _error},
        middleware=[Middleware(AccessMiddleware, access=access or Access())],
        lifespan=lifespan,
    )
