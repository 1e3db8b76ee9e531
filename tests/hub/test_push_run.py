"""Runs are pushed, fetched by name, and used: on a stand-in for the Hub on loopback."""

from __future__ import annotations

import errno
import getpass
import json
import re
import runpy
import shutil
import socket
from pathlib import Path

import pytest
import stgcma as package
from huggingface_hub import ModelCard, constants
from stgcma.errors import InputError, StgcmaError
from stgcma.hub import files, local_run
from stgcma.hub.push import write_folder
from stgcma.model.tensor_files import file_sha256
from stgcma.train.run_folder import RunFolder

# One process for all: they share a packed run.
pytestmark = pytest.mark.xdist_group("pushes of a run")

DOGS = "models/eva/dogs"


def blocks(card: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", card, re.MULTILINE | re.DOTALL)


def test_the_upload_holds_what_others_need_and_nothing_of_this_machine(run, hub, clips, packed, stgcma):
    pushed = stgcma("push", run, "hf:eva/dogs", "--license", "mit")
    assert pushed.status == 0, pushed.stderr
    sent = hub.files(DOGS)
    assert {name: content for name, content in sent.items() if name != ".gitattributes"} == {
        file.name: file.read() for file in packed
    }
    assert sent.keys() - {".gitattributes"} == {
        *("README.md", "prediction.png", "adapters.safetensors", "model.json", "backbone.safetensors"),
        *("config.yaml", "dataset.json", "run.json", "summary.json", "metrics.jsonl", "evaluation-test.json"),
    }
    record = (run / "run.json").read_text()
    assert str(clips) in record  # which is what must not be sent
    words = [str(clips), str(run), str(Path.cwd()), str(run.parents[1]), f"/{getpass.getuser()}/"]
    for name, content in sent.items():
        for word in [*words, f"{Path.home()}/"]:
            assert word.encode() not in content, f"{word} in {name}"
        if not name.endswith((".png", ".safetensors")):
            assert re.search(rf"\b{re.escape(socket.gethostname())}\b", content.decode()) is None, name
    assert json.loads(sent["run.json"])["shards"] == ""
    assert sent["adapters.safetensors"] == (run / "checkpoints/best/adapters.safetensors").read_bytes()


def test_the_card_has_the_scores(packed, scored):
    run = scored / "run"
    text = next(file.read() for file in packed if file.name == "README.md").decode()
    data = ModelCard(text).data
    score = json.loads((run / "evaluation-test.json").read_text())["score"]
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "stgcma", "video-classification")
    (result,) = data.eval_results
    assert (result.dataset_type, result.dataset_split, result.metric_type) == ("ave-form", "test", "accuracy")
    assert result.dataset_name.startswith("in the form of ave, not the published one: ")
    assert "data:not-the-published-collection" in data.tags
    assert result.metric_value == pytest.approx(score, abs=1e-4)
    for part in (
        "chosen on **val**",
        "11,186 of 22,242",
        "b9273f902f904ae3",
        "MiB for evaluation",
        "2, 1, 1",
        "**Not the published collection.**",
        " of 29 classes, 4 of 4,143 clips",
        "was chosen on val, ",
        "| test, 1 clip | score |",
    ):
        assert part in text


@pytest.mark.slow
@pytest.mark.usefixtures("shared")
def test_the_commands_of_the_card_work(hub, scored, stgcma, tmp_path):
    run = scored / "run"
    text = hub.files(DOGS)["README.md"].decode()
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    command = next(line.split()[1:] for line in lines if " predict " in line)
    video, out = scored / "clip.mp4", tmp_path / "by-name"
    told = stgcma(*[{"video.mp4": video, "predictions": out}.get(word, word) for word in command])
    assert told.status == 0, told.stderr
    assert stgcma("predict", run, video, "--out", tmp_path / "by-path").status == 0
    for name in (f"{video.stem}.events.csv", f"{video.stem}.vtt", f"{video.stem}.labels.txt"):
        assert (out / name).read_bytes() == (tmp_path / "by-path" / name).read_bytes()
    names: dict[str, object] = {}
    exec(blocks(text, "python")[0], names)
    (model,) = (value for value in names.values() if isinstance(value, package.model.STGCMA))
    assert model.trained_on.collection == "ave"


@pytest.mark.usefixtures("shared")
def test_a_fetched_run_is_scored_and_reported_in_its_own_folder(hub, clips, clean_cache, stgcma):
    cache = clean_cache()
    scored = stgcma("evaluate", "hf:eva/dogs", "--shards", clips, "--json")
    assert scored.status == 0, scored.stderr
    assert json.loads(scored.stdout)["stored"]["met"] is True
    assert stgcma("evaluate", "hf:eva/dogs", "--shards", clips, "--split", "val").status == 0
    folder = local_run("hf:eva/dogs")
    assert folder == cache / "stgcma/runs/eva" / f"dogs@{hub.repositories[DOGS].branches['main'][:12]}"
    assert (folder / "evaluation-val.json").is_file()
    report = stgcma("report", "hf:eva/dogs", "--split", "val", "--clips", "0")
    assert (report.status, report.stdout) == (0, f"{folder / 'report.html'}\n"), report.stderr
    assert "does not say where its shards are" not in report.stderr
    kept = {path.name for path in (cache / "hub").rglob("*")}
    assert not kept & {"evaluation-val.json", "report.html"}
    without = stgcma("evaluate", "hf:eva/dogs")
    assert (without.status, "name them with the option shards" in without.stderr) == (2, True)


@pytest.mark.usefixtures("quick_pack")
def test_a_private_repository_needs_a_token(run, hub, stgcma, monkeypatch):
    assert stgcma("push", run, "hf:eva/secret", "--private").status == 0
    assert hub.repositories["models/eva/secret"].private
    assert local_run("hf:eva/secret").is_dir()
    monkeypatch.delenv("HF_TOKEN")
    for result in (stgcma("evaluate", "hf:eva/secret"), stgcma("evaluate", "hf:eva/missing")):
        assert result.status == 2
        assert result.stderr.count("\n") == 1
        assert "does not exist, or is private" in result.stderr
        assert "hf auth login" in result.stderr
    refused = stgcma("push", run, "hf:eva/other")
    assert (refused.status, refused.stderr.splitlines()[-1].count("hf auth login")) == (2, 1)
    monkeypatch.setenv("HF_TOKEN", "hf_" + "of_somebody_else")
    assert "hf auth login" in stgcma("push", run, "hf:eva/secret").stderr


@pytest.mark.usefixtures("quick_pack")
def test_private_is_not_asked_of_a_public_repository(run, shared, stgcma):
    before = shared.branches["main"]
    result = stgcma("push", run, "hf:eva/dogs", "--private")
    assert result.status == 2
    assert "hf:eva/dogs exists and is public" in result.stderr
    assert shared.branches["main"] == before


def test_revisions_are_branches_and_commits(run, hub, shared, stgcma):
    first = shared.branches["main"]
    (run / "summary.json").unlink()
    assert stgcma("push", run, "hf:eva/dogs", "--revision", "v2", "--message", "Train longer").status == 0
    assert shared.branches["main"] == first
    assert shared.messages[-1] == "Train longer"
    assert "stgcma predict hf:eva/dogs@v2 " in hub.files(DOGS, "v2")["README.md"].decode()
    # What an earlier push left is removed, and nothing else.
    assert hub.files(DOGS).keys() - hub.files(DOGS, "v2").keys() == {"summary.json"}
    assert not (local_run("hf:eva/dogs@v2") / "summary.json").exists()
    assert (local_run(f"hf:eva/dogs@{first}") / "summary.json").exists()
    missing = stgcma("evaluate", "hf:eva/dogs@v3")
    assert (missing.status, "no such revision" in missing.stderr) == (2, True)
    both = stgcma("push", run, "hf:eva/dogs@v2", "--revision", "v3")
    assert (both.status, "give one" in both.stderr) == (2, True)


@pytest.mark.usefixtures("quick_pack")
def test_an_interrupted_push_is_repeated_without_what_was_sent(run, hub, stgcma):
    backbone = file_sha256(run / "backbone.safetensors")
    hub.broken = re.compile(f"PUT /large/{backbone}")
    failed = stgcma("push", run, "hf:eva/dogs")
    assert (failed.status, "broken by the test" in failed.stderr) == (2, True)
    assert hub.files(DOGS).keys() == {".gitattributes"}
    hub.broken, sent = None, hub.count("PUT /large/")
    assert stgcma("push", run, "hf:eva/dogs").status == 0
    assert hub.files(DOGS)["backbone.safetensors"] == (run / "backbone.safetensors").read_bytes()
    assert (sent, hub.count("PUT /large/")) == (3, 4)
    before = len(hub.repositories[DOGS].messages)
    assert stgcma("push", run, "hf:eva/dogs").status == 0
    assert len(hub.repositories[DOGS].messages) == before  # nothing had changed


@pytest.mark.usefixtures("shared", "quick_pack")
def test_the_copy_is_used_where_the_hub_cannot_be_reached(run, hub, stgcma, monkeypatch, capsys):
    folder = local_run("hf:eva/dogs")
    asked = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    capsys.readouterr()
    assert local_run("hf:eva/dogs") == folder
    assert (len(hub.requests), "cannot be reached" in capsys.readouterr().err) == (asked, False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.close()
    assert local_run("hf:eva/dogs") == folder
    assert f"{hub.url} cannot be reached; the commit that was fetched last is used" in capsys.readouterr().err
    for result in (stgcma("evaluate", "hf:eva/cats"), stgcma("push", run, "hf:eva/dogs")):
        last = result.stderr.splitlines()[-1]
        assert (result.status, f"{hub.url} cannot be reached" in last) == (1, True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = stgcma("evaluate", "hf:eva/cats")
    assert (offline.status, "HF_HUB_OFFLINE" in offline.stderr) == (1, True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.mark.usefixtures("shared")
def test_links_to_a_cleared_cache_are_renewed():
    folder = local_run("hf:eva/dogs")
    shutil.rmtree(constants.HF_HUB_CACHE)
    assert not (folder / "adapters.safetensors").is_file()
    assert local_run("hf:eva/dogs") == folder
    assert (folder / "adapters.safetensors").is_file()


@pytest.mark.usefixtures("quick_pack")
def test_the_files_can_be_listed_or_written_in_place_of_being_sent(
    run, hub, packed, stgcma, tmp_path, monkeypatch
):
    listed = stgcma("push", run, "hf:eva/dogs", "--dry-run")
    written = stgcma("push", run, "hf:eva/dogs", "--to", tmp_path / "copy")
    assert (listed.status, written.status, hub.requests) == (0, 0, [])
    assert "nothing was sent" in listed.stdout
    sent = {file.name: file.read() for file in packed}
    assert {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()} == sent
    assert all(name in listed.stdout for name in sent)
    monkeypatch.setattr("stgcma.hub.packing.pack", None)  # is not called
    again = stgcma("push", run, "hf:eva/dogs", "--to", tmp_path / "copy")
    assert (again.status, "holds other files" in again.stderr) == (2, True)


def test_a_push_to_a_folder_can_be_repeated_after_a_failure(packed, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    target = tmp_path / "made" / "copy"
    target.mkdir(parents=True)
    with monkeypatch.context() as broken:
        broken.setattr("stgcma.hub.push._copy", full)
        with pytest.raises(StgcmaError, match=r"copy/adapters\.safetensors cannot be written"):
            write_folder(packed, target)
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "copy"]
    write_folder(packed, target)
    assert {path.name for path in target.iterdir()} == {file.name for file in packed}
    assert [path.name for path in target.parent.iterdir()] == ["copy"]


def test_the_current_folder_is_filled_and_not_replaced(packed, tmp_path, monkeypatch):
    """Nor is a mounted folder, or one in a folder that cannot be written."""
    target = tmp_path / "copy"
    (target / ".push.partial").mkdir(parents=True)  # by a push that was killed
    before = target.stat().st_ino
    monkeypatch.chdir(target)
    write_folder(packed, Path())
    assert {path.name for path in target.iterdir()} == {file.name for file in packed}
    assert target.stat().st_ino == before


def test_an_empty_folder_is_filled_whose_parent_cannot_be_written(packed, tmp_path, monkeypatch):
    target = tmp_path / "copy"
    target.mkdir()
    monkeypatch.setattr("stgcma.hub.push.os.access", lambda path, _mode: path != tmp_path)
    before = target.stat().st_ino
    write_folder(packed, target)
    assert {path.name for path in target.iterdir()} == {file.name for file in packed}
    assert target.stat().st_ino == before


def test_the_folder_of_a_push_is_a_run(packed, clips, stgcma, tmp_path):
    write_folder(packed, tmp_path / "copy")
    scored = stgcma("evaluate", tmp_path / "copy", "--shards", clips, "--json")
    assert json.loads(scored.stdout)["stored"]["met"] is True
    assert package.load_model(tmp_path / "copy").trained_on.preset == "ave-demo"
    again = stgcma("push", tmp_path / "copy", "hf:eva/dogs", "--license", "mit", "--to", tmp_path / "again")
    assert again.status == 0, again.stderr
    copied = {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert {file.name for file in packed if copied[file.name] != file.read()} == {"README.md"}


def test_a_pushed_run_is_resumed_only_when_it_is_finished(packed, tmp_path):
    write_folder(packed, tmp_path / "copy")
    run = RunFolder(tmp_path / "copy")
    fingerprint = run.read_json("run.json")["data_fingerprint"]
    run.check_resumable(run.read_config(), fingerprint)
    (tmp_path / "copy" / "summary.json").unlink()
    with pytest.raises(InputError, match="was pushed and has no state to resume from"):
        run.check_resumable(run.read_config(), fingerprint)
    RunFolder.create(tmp_path / "copy", overwrite=True)
    assert run.best == tmp_path / "copy" / "checkpoints" / "best"


def test_a_run_without_scores_or_of_the_wrong_kind_is_not_pushed(run, hub, clips, stgcma):
    cases = {
        (clips, "hf:eva/dogs"): "is a shard directory",
        (run, "hf:datasets/eva/dogs"): "is not a shard directory",
        (run, "hf:dogs"): "is not the name of a repository",
        (run / "run.json", "hf:eva/dogs"): "is not a folder",
        (run.parent, "hf:eva/dogs"): "is not a run folder",
    }
    for (source, target), said in cases.items():
        result = stgcma("push", source, target)
        assert (result.status, said in result.stderr) == (2, True), result.stderr
    licensed = stgcma("push", run, "hf:eva/dogs", "--license", "mine: all")
    assert (licensed.status, "license is 'mine: all'" in licensed.stderr) == (2, True)
    (run / "evaluation-test.json").unlink()
    result = stgcma("push", run, "hf:eva/dogs")
    assert (result.status, "was not evaluated" in result.stderr) == (2, True)
    assert hub.requests == []


def test_a_trace_in_a_file_is_named_and_nothing_is_sent(run, hub, stgcma):
    row, *_ = (run / "metrics.jsonl").read_text().splitlines()
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write(json.dumps(json.loads(row) | {"note": f"{Path.home()}/clip.mp4"}) + "\n")
    result = stgcma("push", run, "hf:eva/dogs")
    assert result.status == 2
    assert "nothing was sent: metrics.jsonl, line 4, has" in result.stderr
    assert hub.requests == []


def test_a_card_without_shards_at_hand_says_that_there_is_no_picture(run, hub, stgcma):
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"shards": str(run / "gone")}))
    evaluation = json.loads((run / "evaluation-test.json").read_text())
    (run / "evaluation-test.json").write_text(json.dumps(evaluation | {"shards": str(run / "gone")}))
    result = stgcma("push", run, "hf:eva/dogs")
    assert result.status == 0
    assert "the card has no picture of a prediction" in result.stderr
    assert files.PICTURE not in hub.files(DOGS)
    assert files.PICTURE not in hub.files(DOGS)["README.md"].decode()


def test_a_repository_of_something_else_is_no_run(hub, stgcma):
    from .hub_server import Repository

    hub.repositories["models/eva/other"] = Repository(private=False)
    hub.repositories["models/eva/other"].commit("main", {"model.onnx": b"1"}, "other")
    result = stgcma("evaluate", "hf:eva/other")
    assert (result.status, "holds no run of stgcma" in result.stderr) == (2, True)
    result = stgcma("evaluate", "hf:datasets/eva/clips")
    assert (result.status, "is no run, but a dataset" in result.stderr) == (2, True)


def test_a_space_holds_a_page_that_serves_the_run(run, hub, stgcma, tmp_path):
    result = stgcma("push", run, "hf:eva/dogs", "--space")
    assert result.status == 0, result.stderr
    sent = hub.files("spaces/eva/dogs")
    assert {
        "README.md",
        "Dockerfile",
        "requirements.txt",
        "app.py",
        "run/adapters.safetensors",
    } <= sent.keys()
    assert json.loads(sent["run/run.json"])["shards"] == ""
    folder = tmp_path / "space"
    assert stgcma("push", run, "hf:spaces/eva/dogs", "--to", folder).status == 0
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == (
        sent.keys() - {".gitattributes"}
    )
    assert RunFolder.open(folder / "run").best_sha256() == file_sha256(
        run / "checkpoints/best/adapters.safetensors"
    )
    assert callable(runpy.run_path(str(folder / "app.py"))["app"])
    refused = stgcma("push", run, "hf:datasets/eva/dogs", "--space")
    assert (refused.status, "a Space serves a run" in refused.stderr) == (2, True)
