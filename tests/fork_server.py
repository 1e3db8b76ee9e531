"""Child processes that begin with torch imported: forked from a server instead of started anew.

A start of Python that imports torch, timm and the package takes seven seconds of a core; a fork takes none.
`ForkServer.popen` takes the place of `subprocess.Popen` for commands `[sys.executable, …]`. The server runs
nothing but imports, so that a fork of it holds no threads, no locks and no state of a test.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import pickle
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PRELOADED = (
    "webdataset",
    "stgcma.cli",
    "stgcma.predict",
    "stgcma.preprocess.pipeline.run",
    "stgcma.shards.verification",
    "stgcma.train.run",
    "torch.utils.tensorboard",
)
READY = b"ready"  # sent to each new connection


class ForkServer:
    """A connection to the server process that the test processes of a run share.

    The first process that connects starts the server; it ends with its last connection.
    """

    def __init__(self, folder: Path) -> None:
        self._process: subprocess.Popen | None = None
        address = folder / ".forks"
        with (folder / ".forks.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                self._socket = connected(Path(address.read_text()))
            except (OSError, EOFError):  # there is none yet, or none any more
                path = Path(tempfile.mkdtemp(prefix="forks-")) / "socket"
                self._process = start_server(path)
                self._socket = connected(path)
                address.write_text(str(path))

    def popen(self, command, *, env=None, cwd=None, start_new_session=False) -> ForkedProcess:
        """Fork a process that does what `command`, `[sys.executable, …]`, would do."""
        program, *arguments = map(str, command)
        assert program == sys.executable
        request = {
            "arguments": arguments,
            "env": dict(os.environ if env is None else env),
            "cwd": str(cwd or Path.cwd()),
            "session": start_new_session,
        }
        files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 (the process closes them)
        ended, theirs = socket.socketpair()
        with theirs:
            content = pickle.dumps(request)
            fds = [theirs.fileno(), *(file.fileno() for file in files)]
            socket.send_fds(self._socket, [struct.pack("I", len(content))], fds)
            self._socket.sendall(content)
        (pid,) = struct.unpack("i", received(self._socket, 4))
        return ForkedProcess(command, pid, ended, *files)

    def run(self, command, *, timeout=280, **options) -> subprocess.CompletedProcess[str]:
        """Take the place of `subprocess.run(command, capture_output=True, text=True, check=False)`."""
        with self.popen(command, **options) as process:
            stdout, stderr = process.communicate(timeout)
            return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    @contextlib.contextmanager
    def started_ranks(self, command, *, processes) -> Iterator[list[ForkedProcess]]:
        """Start `command` in several processes that find each other as under torchrun; end them at exit."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        shared = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_PORT": port}
        shared |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": 1}
        with contextlib.ExitStack() as stack:
            started = []
            for rank in range(processes):
                own = {
                    name: str(value) for name, value in (shared | {"RANK": rank, "LOCAL_RANK": rank}).items()
                }
                started.append(stack.enter_context(self.popen(command, env=os.environ | own)))
            yield started

    def run_ranks(self, command, *, processes, timeout=280) -> subprocess.CompletedProcess[str]:
        """Run `command` as torchrun runs it: several processes, all ended when one fails."""
        with self.started_ranks(command, processes=processes) as started:
            deadline = time.monotonic() + timeout
            while (codes := [process.poll() for process in started]) and None in codes and not any(codes):
                if time.monotonic() > deadline:
                    raise subprocess.TimeoutExpired(command, timeout)
                time.sleep(0.02)
            for process in started:
                process.kill() if any(codes) else process.wait()
            outputs = [process.communicate() for process in started]
        code = next(filter(None, codes), 0)
        return subprocess.CompletedProcess(command, code, *map("".join, zip(*outputs, strict=True)))

    def close(self) -> None:
        """End the connection; the process that started the server waits for its end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # forks of this process may hold it, too
        self._socket.close()
        if self._process is not None:
            self._process.wait()


def start_server(path: Path) -> subprocess.Popen:
    """Start a server that listens at `path`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        number = listener.fileno()
        command = [sys.executable, __file__, str(number)]
        return subprocess.Popen(command, pass_fds=[number], env=environment)


def connected(path: Path) -> socket.socket:
    """Return a connection to the server at `path`; OSError or EOFError when there is none."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
        received(connection, len(READY))
    except BaseException:
        connection.close()
        raise
    return connection


class ForkedProcess:
    """As much of `subprocess.Popen` as tests use; the output is collected in files."""

    def __init__(self, command, pid, ended, stdout, stderr) -> None:
        self.args, self.pid, self.returncode = command, pid, None
        self._ended, self._files = ended, (stdout, stderr)

    def poll(self) -> int | None:
        return self._wait(0)

    def wait(self, timeout=None) -> int:
        if self._wait(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout=None) -> tuple[str, str]:
        self.wait(timeout)
        for file in self._files:
            file.seek(0)
        return tuple(file.read().decode() for file in self._files)

    def send_signal(self, number) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _wait(self, timeout) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], timeout)[0]:
            (status,) = struct.unpack("i", received(self._ended, 4))
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.kill()
        self.wait()
        for file in (self._ended, *self._files):
            file.close()


def received(connection, count) -> bytes:
    """Read exactly `count` bytes."""
    content = b""
    while len(content) < count:
        if not (part := connection.recv(count - len(content))):
            raise EOFError("the other side is gone")
        content += part
    return content


def serve(listener: socket.socket) -> dict | None:
    """Fork for every request; return it in the child, and None in the server when no test is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waking, waker = socket.socketpair()
    waking.setblocking(False)
    waker.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno())
    children, connections = {}, []
    while True:
        ready = select.select([listener, waking, *connections], [], [])[0]
        if waking in ready:
            waking.recv(1 << 10)
            for pid in list(children):
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    with contextlib.suppress(OSError), children.pop(pid) as ended:
                        ended.sendall(struct.pack("i", status))
        if listener in ready:
            connections.append(listener.accept()[0])
            connections[-1].sendall(READY)
        for control in [each for each in connections if each in ready]:
            head, fds, _, _ = socket.recv_fds(control, 4, 3)
            if not head:
                control.close()
                connections.remove(control)
                if not connections:
                    shutil.rmtree(Path(listener.getsockname()).parent)
                    return None
                continue
            request = pickle.loads(received(control, *struct.unpack("I", head)))
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for own in (listener, waking, waker, *connections, *children.values()):
                    own.close()
                become(request, fds)
                return request
            children[pid] = socket.socket(fileno=fds[0])
            for fd in fds[1:]:
                os.close(fd)
            control.sendall(struct.pack("i", pid))


def become(request, fds) -> None:
    """Make this process the one that was asked for."""
    if request["session"]:
        os.setsid()
    ended, stdout, stderr = fds
    null = os.open(os.devnull, os.O_RDONLY)
    for fd, number in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(fd, number)
    for fd in (ended, stdout, stderr, null):
        os.close(fd)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    tempfile.tempdir = None


def run(arguments) -> None:
    """Do what `python ARGUMENTS…` does."""
    kind, *rest = arguments
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        exec(compile(rest[0], "<string>", "exec"), sys.modules["__main__"].__dict__)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(kind).parent))
        runpy.run_path(kind, run_name="__main__")


def main() -> None:
    sys.modules["wandb"] = None  # as in conftest.py
    for name in PRELOADED:
        __import__(name)
    del sys.modules["wandb"]
    gc.collect()
    gc.freeze()  # a collection in a fork would write to, and so copy, the pages of all that was imported
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if request is not None:
        run(request["arguments"])


if __name__ == "__main__":
    main()
