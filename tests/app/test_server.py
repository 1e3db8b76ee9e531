"""The server: its address, its token, refused requests, and names of runs."""

import runpy
import socket
import sys
from pathlib import Path

import pytest
import yaml
from stgcma.app import AppLimits, space_files
from stgcma.app import server as server_module
from stgcma.app.examples import find_examples
from stgcma.app.served_run import open_runs, run_names
from stgcma.app.server import serve
from stgcma.errors import InputError

from .stubs import StubRun


@pytest.fixture
def served(monkeypatch):
    """`served(**options)` is what `serve` gives its server and prints, with a run without a model."""
    uvicorn = server_module.uvicorn

    def start(**options):
        found = {}

        class Server:
            def __init__(self, config):
                found["config"] = config

            def run(self, sockets):
                from starlette.testclient import TestClient

                found["socket"] = sockets[0].getsockname()
                with TestClient(found["config"].app):
                    raise KeyboardInterrupt

        monkeypatch.setattr(server_module, "open_runs", lambda *_, **__: [StubRun()])
        monkeypatch.setattr(uvicorn, "Server", Server)
        serve(["run"], port=0, on_address=lambda address: found.update(address=address), **options)
        return found

    return start


def access_of(found):
    return found["config"].app.user_middleware[0].kwargs["access"]


def test_on_loopback_no_token_is_needed(served, capsys):
    found = served()
    host, port = found["socket"]
    assert host == "127.0.0.1"
    assert found["address"] == f"http://127.0.0.1:{port}/"
    assert (access_of(found).token, access_of(found).loopback_only) == (None, True)
    told = capsys.readouterr().err
    assert told.index("Ctrl-C ends the server") < told.index("stopped")  # Ctrl-C is no error


def test_elsewhere_a_random_token_is_needed(served):
    tokens = [access_of(found := served(host="0.0.0.0")).token for _ in range(2)]
    assert len(set(tokens)) == 2
    assert all(len(token) >= 32 for token in tokens)
    assert found["address"].endswith(f"/?token={tokens[1]}")
    assert not access_of(found).loopback_only
    assert not found["config"].access_log  # it would show the token


def test_a_given_token_is_needed_on_loopback_too(served):
    found = served(token="k" * 16)
    assert access_of(found).token == "k" * 16
    assert found["address"].endswith("/?token=" + "k" * 16)


def test_a_short_token_is_refused(served):
    with pytest.raises(InputError, match="token has 15 characters, at least 16 are needed"):
        served(token="k" * 15)


def test_a_port_in_use_is_named(monkeypatch):
    monkeypatch.setattr(server_module, "open_runs", None)  # is not called
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1 port {port} cannot be used: .*choose another port"):
            serve(["run"], port=port)


def test_a_host_that_is_no_name_is_named():
    with pytest.raises(InputError, match=r"a\.\.b port 0 cannot be used: .*(idna|label)"):
        serve(["run"], host="a..b", port=0)


def test_the_browser_is_opened_when_asked(served, monkeypatch):
    opened = []
    monkeypatch.setattr(server_module.webbrowser, "open", opened.append)
    served()
    assert opened == []
    assert [served(open_browser=True)["address"]] == opened


def test_the_missing_extra_is_named(stgcma, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("stgcma.app")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = stgcma("serve", "run")
    assert result.status == 2
    assert result.stderr == "stgcma: serve needs Starlette and uvicorn; pip install 'stgcma[app]'\n"


def test_a_run_that_is_none_is_named(stgcma, tmp_path):
    result = stgcma("serve", tmp_path / "absent", "--port", 0)
    assert result.status == 2
    assert str(tmp_path / "absent") in result.stderr


def test_the_command_passes_its_limits(stgcma, monkeypatch):
    given = {}
    monkeypatch.setattr(
        sys.modules["stgcma.app"], "serve", lambda runs, **options: given.update(options, runs=runs)
    )
    monkeypatch.setenv("STGCMA_TOKEN", "e" * 20)
    result = stgcma("serve", "a", "b", "--max-upload", 3, "--max-seconds", 7, "--host", "::1", "--open")
    assert result.status == 0, result.stderr
    assert given["limits"] == AppLimits(upload_bytes=3 * 2**20, longest_seconds=7)
    expected = {
        "runs": [Path("a"), Path("b")],
        "host": "::1",
        "port": 7860,
        "token": "e" * 20,
        "open_browser": True,
    }
    assert {name: given[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        (["run"], ["run"]),
        (["a/run", "b/other/"], ["run", "other"]),
        (["x/a/run", "x/b/run"], ["a/run", "b/run"]),
        (["x/a/run", "y/a/run", "z"], ["x/a/run", "y/a/run", "z"]),
    ],
)
def test_runs_have_different_names(runs, names):
    assert run_names(runs) == names


def test_a_run_is_named_before_it_is_loaded(monkeypatch):
    def load(*_, **__):
        raise InputError("no run")

    monkeypatch.setattr("stgcma.app.served_run.open_run", load)
    named = []
    with pytest.raises(InputError, match="no run"):
        open_runs(["a/run", "b/run"], on_run=named.append)
    assert named == ["a/run"]


def test_a_run_that_is_given_twice_is_refused():
    with pytest.raises(InputError, match="RUN a/run is given twice"):
        run_names(["a/run", "b", "a/run"])


def test_examples_have_questions(tmp_path):
    for name in ("b.mp4", "a.mkv", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "b.question.txt").write_text("Is there a bell?\nmore\n")
    (tmp_path / "b.txt").write_text("0.0\t1.0\tbell\n")  # a label track
    found = find_examples(tmp_path)
    assert [(one.video.name, one.question) for one in found] == [("a.mkv", ""), ("b.mp4", "Is there a bell?")]
    assert find_examples(None) == ()


@pytest.mark.parametrize(("name", "expected"), [("empty", "holds no videos"), ("absent", "is not a folder")])
def test_a_folder_without_examples_is_refused(tmp_path, name, expected):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=expected):
        find_examples(tmp_path / name)


def test_a_space_serves_its_runs(tmp_path, monkeypatch):
    from starlette.testclient import TestClient

    opened = []
    monkeypatch.setattr(
        server_module, "open_runs", lambda runs, **_: [opened.append(runs) or StubRun(runs[0].name)]
    )
    files = space_files(["run-av"], title='Events: "all"', requirement="./stgcma.whl[app]", license_="mit")
    names = runpy.run_path(str(written(tmp_path, files) / "app.py"))
    assert opened == [[tmp_path / "run-av"]]
    with TestClient(names["app"], base_url="https://org-events.hf.space") as client:
        page = client.get("/")
        assert "run-av" in page.text
        assert page.headers["content-security-policy"].endswith("frame-ancestors https://huggingface.co")
        headers = {"origin": "https://org-events.hf.space"}
        assert client.post("/api/jobs?run=0", content=b"video", headers=headers).status_code == 201
    _, card, _ = files["README.md"].split("---\n")
    expected = {"title": 'Events: "all"', "sdk": "docker", "app_port": 7860, "license": "mit"}
    assert expected.items() <= yaml.safe_load(card).items()
    assert "./stgcma.whl[app]" in files["requirements.txt"].splitlines()
    assert '"--port", "7860"' in files["Dockerfile"]


def written(folder, files):
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder
