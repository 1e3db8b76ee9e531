"""A stand-in for the Hugging Face Hub on loopback: the requests that `huggingface_hub` makes, without Xet."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_of_the_tests"
LFS_SUFFIXES = (".safetensors", ".tar", ".parquet", ".png")


@dataclass
class Repository:
    """Branches to commits, commits to their files; contents of large files are by their SHA-256."""

    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, files: dict[str, bytes], message: str) -> str:
        state = json.dumps([len(self.commits), sorted(files), message]).encode()
        sha = hashlib.sha1(state).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        self.messages.append(message)
        return sha

    def resolve(self, revision: str) -> str | None:
        sha = self.branches.get(revision, revision)
        return next((each for each in self.commits if each.startswith(sha) and len(sha) >= 7), None)


class Hub:
    """The server. `requests` are the methods and paths in order; `broken` fails requests that it matches."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.broken: re.Pattern[str] | None = None
        self.connections: list[socket.socket] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def close(self) -> None:
        """Stop, and cut the connections that clients keep."""
        self.server.shutdown()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server.server_close()

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """The files of `models/ORG/NAME` or `datasets/ORG/NAME`."""
        repository = self.repositories[name]
        return repository.commits[repository.resolve(revision)]

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, request) is not None for request in self.requests)


class RefusedError(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    ROUTES = (
        ("POST", r"/api/repos/create", "create"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("POST", r"/api/(\w+/[^/]+/[^/]+)/branch/([^/]+)", "branch"),
        ("POST", r"/api/(\w+/[^/]+/[^/]+)/preupload/([^/]+)", "preupload"),
        ("POST", r"/api/(\w+/[^/]+/[^/]+)/commit/([^/]+)", "commit"),
        ("POST", r"/api/(\w+/[^/]+/[^/]+)/paths-info/([^/]+)", "paths_info"),
        ("GET", r"/api/(\w+/[^/]+/[^/]+)/tree/([^/]+)(?:/(.+))?", "tree"),
        ("GET", r"/api/(\w+/[^/]+/[^/]+)(?:/revision/([^/]+))?", "info"),
        ("POST", r"/((?:\w+/)?[^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
        ("PUT", r"/large/(\w+)", "put_large"),
        ("(?:GET|HEAD)", r"/((?:datasets/|spaces/)?[^/]+/[^/]+)/resolve/([^/]+)/(.+)", "resolve"),
    )

    def setup(self) -> None:
        super().setup()
        self.hub.connections.append(self.connection)

    def log_message(self, *_arguments: object) -> None:
        pass

    def handle_any(self) -> None:
        path = urlsplit(self.path).path
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = b"".join(iter(self.read_chunk, b""))
        else:
            self.body = self.rfile.read(length)
        self.hub.requests.append(f"{self.command} {path}")
        try:
            if self.hub.broken is not None and self.hub.broken.search(f"{self.command} {path}"):
                raise RefusedError(403, "broken by the test")
            for method, pattern, name in self.ROUTES:
                if re.fullmatch(method, self.command) and (match := re.fullmatch(pattern, path)):
                    getattr(self, name)(*(part and unquote(part) for part in match.groups()))
                    return
            raise RefusedError(404, f"no such request: {self.command} {path}")
        except RefusedError as refused:
            headers = {"X-Error-Message": refused.message, "X-Error-Code": refused.code}
            self.answer(json.dumps({"error": refused.message}).encode(), refused.status, headers)

    do_GET = do_POST = do_PUT = do_HEAD = handle_any  # noqa: N815

    def read_chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        content = self.rfile.read(size)
        self.rfile.readline()
        return content

    def answer(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        headers = headers or {}
        if (wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))) and status == 200:
            first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
            headers |= {"Content-Range": f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"}
            content, status = content[first : last + 1], 206
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def answer_json(self, content: object, status: int = 200) -> None:
        self.answer(json.dumps(content).encode(), status, {"Content-Type": "application/json"})

    def authorised(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def repository(self, name: str, *, write: bool = False) -> Repository:
        found = self.hub.repositories.get(name)
        if write and not self.authorised():
            raise RefusedError(401, "Invalid username or password.")
        if found is None or (found.private and not self.authorised()):
            raise RefusedError(404 if self.authorised() else 401, "Repository not found", "RepoNotFound")
        return found

    def at(self, name: str, revision: str | None) -> tuple[str, dict[str, bytes]]:
        repository = self.repository(name)
        sha = repository.resolve(revision or "main")
        if sha is None:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha, repository.commits[sha]

    def validate(self) -> None:
        self.answer_json({"errors": [], "warnings": []})

    def create(self) -> None:
        if not self.authorised():
            raise RefusedError(401, "Invalid username or password.")
        wanted = json.loads(self.body)
        name = f"{wanted.get('type') or 'model'}s/{wanted['organization']}/{wanted['name']}"
        status = 409 if name in self.hub.repositories else 200
        if status == 200:
            private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
            made = self.hub.repositories[name] = Repository(private)
            made.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        self.answer_json({"url": f"{self.hub.url}/{name.removeprefix('models/')}"}, status)

    def branch(self, name: str, branch: str) -> None:
        repository = self.repository(name, write=True)
        if branch in repository.branches:
            self.answer_json({"error": "Reference already exists"}, 409)
            return
        repository.branches[branch] = repository.branches["main"]
        self.answer_json({}, 201)

    def info(self, name: str, revision: str | None) -> None:
        sha, files = self.at(name, revision)
        siblings = [{"rfilename": path} for path in files]
        identity = name.partition("/")[2]
        private = self.hub.repositories[name].private
        self.answer_json({"id": identity, "sha": sha, "private": private, "siblings": siblings})

    def entry(self, path: str, content: bytes) -> dict[str, object]:
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": oid}
        if path.endswith(LFS_SUFFIXES):
            sha256 = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
        return entry

    def tree(self, name: str, revision: str, folder: str | None) -> None:
        _, files = self.at(name, revision)
        below = f"{folder}/" if folder else ""
        recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() == "true"
        entries, folders = [], {}
        for path, content in files.items():
            if not path.startswith(below):
                continue
            first, slash, _ = path[len(below) :].partition("/")
            if slash:
                folders[f"{below}{first}"] = None
            if recursive or not slash:
                entries.append(self.entry(path, content))
        if below and not entries and not folders:
            raise RefusedError(404, f"{folder} does not exist", "EntryNotFound")
        self.answer_json(
            entries + [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders]
        )

    def paths_info(self, name: str, revision: str) -> None:
        _, files = self.at(name, revision)
        found = []
        for path in json.loads(self.body)["paths"] if self.body[:1] == b"{" else self.form()["paths"]:
            if path in files:
                found.append(self.entry(path, files[path]))
            elif any(each.startswith(f"{path}/") for each in files):
                found.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        self.answer_json(found)

    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode())

    def preupload(self, name: str, revision: str) -> None:
        self.repository(name, write=True)
        _, files = self.at(name, revision)
        self.answer_json(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular",
                        "shouldIgnore": False,
                        "oid": self.remote_oid(files, file["path"]),
                    }
                    for file in json.loads(self.body)["files"]
                ]
            }
        )

    def remote_oid(self, files: dict[str, bytes], path: str) -> object:
        if path not in files:
            return None
        entry = self.entry(path, files[path])
        return entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]  # type: ignore[index]

    def batch(self, name: str) -> None:
        self.repository(name if name.startswith(("datasets/", "spaces/")) else f"models/{name}", write=True)
        objects = []
        for each in json.loads(self.body)["objects"]:
            there = each["oid"] in self.hub.large
            href = f"{self.hub.url}/large/{each['oid']}"
            objects.append(each | ({} if there else {"actions": {"upload": {"href": href}}}))
        self.answer_json({"transfer": "basic", "objects": objects})

    def put_large(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.hub.large[oid] = self.body
        self.answer(b"")

    def commit(self, name: str, branch: str) -> None:
        repository = self.repository(name, write=True)
        files, message = dict(self.at(name, branch)[1]), ""
        for line in self.body.splitlines():
            key, value = (item := json.loads(line))["key"], item["value"]
            if key == "header":
                message = value["summary"]
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        sha = repository.commit(branch, files, message)
        self.answer_json({"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha})

    def resolve(self, name: str, revision: str, path: str) -> None:
        full = name if name.startswith(("datasets/", "spaces/")) else f"models/{name}"
        sha, files = self.at(full, revision)
        if path not in files:
            raise RefusedError(404, "Entry not found", "EntryNotFound")
        entry = self.entry(path, files[path])
        headers = {"X-Repo-Commit": sha, "ETag": f'"{entry["oid"]}"'}
        if "lfs" in entry:  # the Hub redirects to another host, which has the content
            oid = entry["lfs"]["oid"]  # type: ignore[index]
            headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(entry["size"])}
        self.answer(files[path], 200, headers)
