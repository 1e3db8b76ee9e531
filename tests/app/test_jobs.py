"""The queue: order, progress, cancelling, failures, and deletion."""

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
from stgcma.app import jobs as jobs_module
from stgcma.app.jobs import Fault, JobQueue, QueueFullError, State
from stgcma.app.limits import AppLimits
from stgcma.app.served_run import UnusableVideoError
from stgcma.errors import InputError, StgcmaError

from .stubs import StubRun

ENDED = (State.DONE, State.CANCELLED)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def queue_of():
    with ExitStack() as stack:
        yield lambda clock=None, **limits: stack.enter_context(
            JobQueue(AppLimits(**limits), clock=clock or Clock())
        )


def submit(queue, *runs, filename="clip.mp4"):
    name, folder = queue.reserve()
    video = folder / "upload.mp4"
    video.write_bytes(b"video")
    return queue.submit(name, video, filename, runs, "")


def test_jobs_of_two_people_are_done_in_order(queue_of, until):
    queue, first, second = queue_of(), StubRun(held=True), StubRun(held=True)
    jobs = [submit(queue, first), submit(queue, second)]
    assert first.started.wait(120)
    until(lambda: jobs[0].progress == 0.5)
    assert (jobs[0].state, queue.position(jobs[0])) == (State.RUNNING, 1)
    assert (jobs[1].state, queue.position(jobs[1])) == (State.WAITING, 1)
    assert not second.started.is_set()
    first.go.set()
    assert second.started.wait(120)
    assert jobs[0].state is State.DONE
    second.go.set()
    until(lambda: jobs[1].state is State.DONE)
    assert [len(job.outcomes) for job in jobs] == [1, 1]
    assert jobs[0].id != jobs[1].id


def test_several_runs_predict_the_same_video(queue_of, until):
    queue, second = queue_of(), StubRun("b", held=True)
    job = submit(queue, StubRun("a"), second)
    assert second.started.wait(120)
    until(lambda: job.progress == 0.75)
    assert [outcome.run.name for outcome in job.outcomes] == ["a"]
    second.go.set()
    until(lambda: job.state is State.DONE)
    assert [outcome.run.name for outcome in job.outcomes] == ["a", "b"]
    assert job.outcomes[0].result.archive != job.outcomes[1].result.archive
    assert not job.video.exists()


def test_a_running_job_is_cancelled_with_its_files(queue_of, until):
    queue, run, other = queue_of(), StubRun(held=True), StubRun()
    job, next_ = submit(queue, run), submit(queue, other)
    assert run.started.wait(120)
    assert queue.cancel(job.id)
    until(lambda: next_.state is State.DONE)
    assert (job.state, job.outcomes) == (State.CANCELLED, [])
    assert not job.folder.exists()


def test_a_job_is_cancelled_after_its_last_report(queue_of, until):
    queue, run = queue_of(), StubRun()
    predict, (name, folder) = run.predict, queue.reserve()
    run.predict = lambda request: (predict(request), queue.cancel(name))[0]
    (folder / "upload.mp4").write_bytes(b"video")
    job = queue.submit(name, folder / "upload.mp4", "clip.mp4", [run], "")
    until(lambda: job.state in ENDED)
    assert (job.state, job.outcomes, folder.exists()) == (State.CANCELLED, [], False)


def test_a_waiting_job_is_cancelled_at_once(queue_of):
    queue, run, other = queue_of(), StubRun(held=True), StubRun()
    submit(queue, run)
    job = submit(queue, other)
    assert run.started.wait(120)
    assert queue.cancel(job.id)
    assert job.state is State.CANCELLED
    assert not job.folder.exists()
    run.go.set()
    assert not other.seen


def test_a_finished_job_is_deleted_when_asked(queue_of, until):
    queue = queue_of()
    job = submit(queue, StubRun())
    until(lambda: job.state is State.DONE)
    assert job.folder.exists()
    assert queue.cancel(job.id)
    assert not job.folder.exists()
    assert queue.get(job.id) is None
    assert not queue.cancel(job.id)


def test_the_queue_is_limited(queue_of):
    queue, run = queue_of(waiting=2), StubRun(held=True)
    submit(queue, run)
    assert run.started.wait(120)
    submit(queue, StubRun())
    name, folder = queue.reserve()
    with pytest.raises(QueueFullError):
        queue.reserve()
    queue.release(name)
    assert not folder.exists()
    queue.reserve()


def test_a_full_queue_is_told(client_of):
    run = StubRun(held=True)
    client = client_of([run], limits=AppLimits(waiting=1))
    client.post("/api/jobs?run=0", content=b"video")
    assert run.started.wait(120)
    client.post("/api/jobs?run=0", content=b"video")
    answer = client.post("/api/jobs?run=0", content=b"video")
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("Too many videos wait")


def test_results_are_deleted_by_age_and_number(queue_of, until):
    clock = Clock()
    queue = queue_of(clock, results=2, result_seconds=100.0)
    jobs = []
    for clock.now in (1.0, 2.0, 3.0):
        jobs.append(submit(queue, StubRun()))
        until(lambda: jobs[-1].state is State.DONE)
    assert [queue.get(job.id) is not None for job in jobs] == [False, True, True]
    clock.now = 102.5
    assert [queue.get(job.id) is not None for job in jobs] == [False, False, True]
    assert [job.folder.exists() for job in jobs] == [False, False, True]


def test_cancelled_jobs_take_no_place_of_results(queue_of, until):
    queue, held = queue_of(results=2), StubRun(held=True)
    job = submit(queue, StubRun())
    until(lambda: job.state is State.DONE)
    submit(queue, held)
    assert held.started.wait(120)
    cancelled = [submit(queue, StubRun()) for _ in range(4)]
    for one in cancelled:
        assert queue.cancel(one.id)
    assert queue.get(job.id) is job
    assert [queue.get(one.id) is not None for one in cancelled] == [False, False, True, True]


def test_old_results_are_deleted_without_a_request(queue_of, until, monkeypatch):
    monkeypatch.setattr(jobs_module, "_SECONDS_BETWEEN_DELETIONS", 0.01)
    clock = Clock()
    job = submit(queue_of(clock, result_seconds=100.0), StubRun())
    until(lambda: job.state is State.DONE)
    clock.now = 101.0
    until(lambda: not job.folder.exists())


def test_a_reservation_that_fails_keeps_no_place(queue_of):
    queue = queue_of(waiting=1)
    scratch = Path(queue._scratch.name)
    shutil.rmtree(scratch)
    with pytest.raises(FileNotFoundError):
        queue.reserve()
    scratch.mkdir()
    queue.reserve()


def test_a_failure_does_not_stop_the_queue(queue_of, until, capsys):
    queue = queue_of()
    secret = queue._scratch.name
    runs = [
        StubRun(error=StgcmaError("no space left")),
        StubRun(error=ZeroDivisionError(secret)),
        StubRun(),
    ]
    job = submit(queue, *runs)
    until(lambda: job.state is State.DONE)
    assert job.outcomes[0].failure == "no space left"
    assert "failed unexpectedly" in job.outcomes[1].failure
    assert secret not in job.outcomes[1].failure
    assert job.outcomes[2].result is not None
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_does_not_stop_the_queue(queue_of, until):
    queue, held = queue_of(), StubRun(held=True)
    job, next_ = submit(queue, held, StubRun()), submit(queue, StubRun())
    assert held.started.wait(120)
    (job.folder / "run-1").write_bytes(b"")  # the folder of the second run cannot be made
    held.go.set()
    until(lambda: next_.state is State.DONE)
    assert "failed unexpectedly" in job.outcomes[1].failure
    assert next_.outcomes[0].result is not None


def test_a_failure_does_not_name_the_folder(queue_of, until):
    queue = queue_of()
    run = StubRun()
    run.predict = lambda request: (_ for _ in ()).throw(StgcmaError(f"{request.folder}/a.png: no space left"))
    job = submit(queue, run)
    until(lambda: job.state is State.DONE)
    assert job.outcomes[0].failure == "the results/run-0/a.png: no space left"
    assert job.outcomes[0].fault is Fault.SERVER


def test_a_failure_does_not_name_paths_of_the_server(queue_of, until, capsys):
    queue, said = queue_of(), "/srv/the runs/run-av/best: /home/eva/w.pt is gone; 1/2 of s3://data/w"
    runs = [StubRun(error=StgcmaError(said)), StubRun(error=UnusableVideoError(said))]
    job = submit(queue, *runs)
    until(lambda: job.state is State.DONE)
    shown = "run-av/best: w.pt is gone; 1/2 of s3://data/w"
    assert [one.failure for one in job.outcomes] == [shown, shown]
    assert [one.fault for one in job.outcomes] == [Fault.SERVER, Fault.VIDEO]
    assert said in capsys.readouterr().err  # of the server's terminal


def test_a_broken_file_is_told_and_deleted(client_of, finished):
    client = client_of()
    job = client.post("/api/jobs?run=0&name=broken.mp4", content=b"video").json()
    (outcome,) = finished(client, job)["outcomes"]
    expected = {"run": "run-av", "task": "ave", "preset": "ave-demo"}
    assert outcome == expected | {"failure": "it cannot be opened", "fault": "video"}


def test_a_refused_question_does_not_name_the_folder_of_the_run(client_of):
    run = StubRun("asks", "avqa", question_words=("is",))
    run.check_question = lambda _: (_ for _ in ()).throw(InputError(f"RUN {run.folder} reads /srv/w.pt"))
    answer = client_of([run]).post("/api/jobs?run=0", content=b"video")
    assert (answer.status_code, answer.json()["detail"]) == (400, "RUN asks reads w.pt")


def test_the_end_deletes_everything_and_cancels():
    run = StubRun(held=True)
    with JobQueue(AppLimits()) as queue:
        job = submit(queue, run)
        assert run.started.wait(120)
    assert job.state is State.CANCELLED
    assert not job.folder.parent.exists()


def test_examples_are_not_deleted(queue_of, until, tmp_path):
    queue = queue_of()
    video = tmp_path / "example.mp4"
    video.write_bytes(b"video")
    name, _ = queue.reserve()
    job = queue.submit(name, video, "example.mp4", [StubRun()], "")
    until(lambda: job.state is State.DONE)
    assert video.exists()


def test_jobs_of_others_are_not_found(client_of, finished):
    client = client_of()
    job = client.post("/api/jobs?run=0&name=a.mp4", content=b"video").json()
    finished(client, job)
    assert len(job["id"]) >= 22  # 128 random bits
    for path in (
        f"/api/jobs/{job['id'][:-1]}",
        f"/api/jobs/{job['id']}/1/archive",
        f"/api/jobs/{job['id']}/0/files/9",
        f"/api/jobs/{job['id']}/0/files/{'9' * 5000}",
        f"/api/jobs/{job['id']}/{'9' * 5000}/archive",
        f"/api/jobs/{job['id']}/-1/archive",
        f"/examples/{'9' * 5000}",
    ):
        assert client.get(path).status_code == 404
    assert client.get("/api/jobs").status_code == 405  # there is no list
    assert client.delete(f"/api/jobs/{job['id']}").status_code == 204
    assert client.get(f"/api/jobs/{job['id']}").status_code == 404
