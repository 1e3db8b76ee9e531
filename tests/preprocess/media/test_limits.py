"""Limits passed to FFmpeg in both ways of calling it. Each is tested although another may suffice."""

import subprocess
from types import SimpleNamespace

import av
import pytest
from stgcma.preprocess.media import ffmpeg_process
from stgcma.preprocess.media.container import DEMUXERS, MAX_PIXELS, open_container

FOLLOWING = {
    "hls",
    "dash",
    "concat",
    "sdp",
    "rtsp",
    "image2",
    "lavfi",
    "tty",
    "webm_dash_manifest",
    "applehttp",
}


def test_no_demuxer_follows_names():
    assert not FOLLOWING & set(DEMUXERS)


def test_containers_are_opened_with_every_limit(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(av, "open", lambda url, **options: asked.update(options, url=url))
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    open_container(path)
    options = asked["options"]
    assert asked["url"] == f"file:{path}"
    assert options["protocol_whitelist"] == "file"
    assert options["format_whitelist"].split(",") == list(DEMUXERS)
    assert 0 < int(options["max_pixels"]) <= 4 * MAX_PIXELS


def test_ffmpeg_is_started_with_every_limit(tmp_path, monkeypatch):
    commands = []

    def run(command, **options):
        commands.append((command, options))
        return SimpleNamespace(returncode=0, stdout=b"", stderr=b"")

    monkeypatch.setattr(ffmpeg_process, "ffmpeg_executable", lambda: "ffmpeg")
    monkeypatch.setattr(subprocess, "run", run)
    path = tmp_path / "-a.mp4"
    path.write_bytes(b"x")
    ffmpeg_process.run_ffmpeg(path, ffmpeg_process.ffmpeg_input().output("pipe:", format="null"))
    ((command, options),) = commands
    before = command[: command.index("-i")]

    def told(name, words):
        return words[words.index(name) + 1]

    assert told("-protocol_whitelist", before) == "file,pipe"
    assert told("-format_whitelist", before).split(",") == list(DEMUXERS)
    assert told("-max_pixels", before) == str(MAX_PIXELS)
    assert told("-i", command) == f"file:{path}"
    assert told("-max_error_rate", command) == "0"
    assert options["stdin"] == subprocess.DEVNULL
    assert options["preexec_fn"] is not None
    assert not options.get("shell")


@pytest.mark.parametrize("said", [b"Cannot allocate memory", b"x.mp4: Invalid data"])
def test_what_ffmpeg_fails_at_is_not_passed_over(tmp_path, monkeypatch, said):
    from stgcma.preprocess.media.reasons import ClipError

    failed = SimpleNamespace(returncode=1, stdout=b"half", stderr=said)
    monkeypatch.setattr(ffmpeg_process, "ffmpeg_executable", lambda: "ffmpeg")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    output = ffmpeg_process.ffmpeg_input().output("pipe:", format="null")
    if b"memory" in said:
        with pytest.raises(ClipError, match="out-of-memory: ffmpeg ran out of memory"):
            ffmpeg_process.run_ffmpeg(path, output)
    else:
        assert ffmpeg_process.run_ffmpeg(path, output) == (b"half", "x.mp4: Invalid data")
