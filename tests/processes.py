"""What runs a private server: a process of ours with its own folder, or a container.

A process' folder belongs to us and holds `owner` (who started it), `server.pid`, `log`, and `home`, which belongs to
the account that the server runs as. `sweep` reads the first two to end what a killed test run left behind.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.provision import Account, Programs, ServersMissing

STOP_TIMEOUT_S = 30.0
PREPARE_TIMEOUT_S = 120.0
DOCKER_ANSWER_S = 5.0
FOLDER_PREFIX = "connector-test-"
MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 1024**3
XIDS_PER_SEGMENT = 1_048_576  # of PostgreSQL's pg_xact: 32 pages of 8 KiB, four transactions in a byte
IMAGES = {"postgresql": "postgres:15", "mysql": "mariadb:10.11"}


class Control(Protocol):
    """Stop, start, kill and finally end what runs a server."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def end(self) -> None: ...
    def fail_if_ended(self) -> None: ...


class LocalProcess:
    """A server as a child process, as an unprivileged account when we are root."""

    def __init__(
        self,
        programs: Programs,
        account: Account | None,
        prepare: Prepare,
        settings: Sequence[str],
        password: str,
        *,
        in_memory: bool = False,
    ) -> None:
        self.port = free_port()
        self._owner_pid = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._account = account
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "MYSQL", "MARIADB"))}
        self._environment |= programs.environment
        self.folder = _private_folder(_memory() if in_memory else None)
        self.home = self.folder / "home"
        self._log = self.folder / "log"
        try:
            self._make_home()
            self._command = [*prepare(self, programs, password), *settings]
        except BaseException:
            self.end()
            raise

    def _make_home(self) -> None:
        (self.folder / "owner").write_text(f"{os.getpid()} {_started(os.getpid())}")
        self.home.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(self.home, self._account.uid, self._account.gid)
        self._environment["HOME"] = str(self.home)

    def write(self, name: str, text: str) -> Path:
        """Put a file where only the server's account can read it."""
        path = self.home / name
        path.write_text(text)
        path.chmod(0o600)
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)
        return path

    def run(self, command: Sequence[str]) -> None:
        """Run a preparing command as the server's account."""
        process = self._popen(command)
        try:
            code = process.wait(PREPARE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = -1
        if code:
            raise RuntimeError(f"{Path(command[0]).name} failed:\n{self._last_lines()}")

    def start(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = self._popen(self._command)
            (self.folder / "server.pid").write_text(str(self._process.pid))

    def stop(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            # PostgreSQL's fast shutdown is SIGINT; its SIGTERM waits for clients. MariaDB's is SIGTERM.
            fast = signal.SIGINT if "postgres" in Path(self._command[0]).name else signal.SIGTERM
            self._process.send_signal(fast)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            _kill_tree(self._process.pid)
            self._process.wait()

    def end(self) -> None:
        """Stop and remove everything; a forked child of the test run leaves it alone."""
        if os.getpid() == self._owner_pid and self.folder.exists():
            self.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def fail_if_ended(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the server ended with {self._process.returncode}:\n{self._last_lines()}")

    def _popen(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        who: dict[str, Any] = {}
        if self._account is not None:
            who = {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal reaches the tests, which then stop it in order.
            return subprocess.Popen(
                command,
                cwd=self.home,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **who,
            )

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


Prepare = Callable[[LocalProcess, Programs, str], list[str]]
"""Create a server's data and return the command that serves it."""


def prepare_postgresql(process: LocalProcess, programs: Programs, password: str) -> list[str]:
    data = process.home / "data"
    locale = "C.UTF-8" if sys.platform == "linux" else "C"
    process.run(
        [
            *(programs["initdb"], "--pgdata", str(data), "--username", "postgres"),
            *("--auth", "scram-sha-256", "--pwfile", str(process.write("password", password))),
            *("--encoding", "UTF8", "--locale", locale, "--no-sync"),
        ]
    )
    return _postgres(process, programs, data)


def _postgres(process: LocalProcess, programs: Programs, data: Path) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(process.home),
        "dynamic_shared_memory_type": "mmap",  # in the data folder: a killed server leaves nothing in /dev/shm
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    return [programs["postgres"], "-D", str(data), "-p", str(process.port), *words]


def prepare_postgresql_at(next_xid: int) -> Prepare:
    """Return how to create a cluster whose next transaction gets that 32-bit number, in epoch 0."""

    def prepare(process: LocalProcess, programs: Programs, password: str) -> list[str]:
        command = prepare_postgresql(process, programs, password)
        data = process.home / "data"
        # What initdb wrote last bears its own xids, which would lie in the future now and so be invisible.
        single = [programs["postgres"], "--single", "-D", str(data), "postgres"]
        process.run(["/bin/sh", "-c", 'echo "VACUUM (FREEZE)" | "$0" "$@"', *single])
        # The server reads the outcome of its newest transactions at start, so their (empty) segment must be there.
        segment = process.write(f"data/pg_xact/{next_xid // XIDS_PER_SEGMENT:04X}", "")
        os.truncate(segment, XIDS_PER_SEGMENT // 4)  # two bits each
        process.run([sibling(programs, "pg_resetwal"), "--epoch=0", f"--next-transaction-id={next_xid}", str(data)])
        return command

    return prepare


def prepare_standby(primary_port: int) -> Prepare:
    """Return how to copy a running primary into a standby that streams from it; both have one administrator."""

    def prepare(process: LocalProcess, programs: Programs, password: str) -> list[str]:
        login = process.write("pgpass", f"127.0.0.1:{primary_port}:*:postgres:{password}\n")
        source = f"host=127.0.0.1 port={primary_port} user=postgres passfile={login}"
        data = process.home / "data"
        process.run(
            [
                *(sibling(programs, "pg_basebackup"), "--pgdata", str(data), "--dbname", source),
                *("--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream", "--no-sync"),
            ]
        )
        return _postgres(process, programs, data)

    return prepare


def sibling(programs: Programs, name: str) -> str:
    """Return a program that comes with the server's, beside them; the links on PATH need not include it."""
    server = Path(programs["postgres"]).resolve()
    path = server.with_name(name)
    if not os.access(path, os.X_OK):
        raise ServersMissing(f"{name} is missing beside {server}. Install all of the server's package")
    return str(path)


def prepare_mariadb(process: LocalProcess, programs: Programs, password: str) -> list[str]:
    data = process.home / "data"
    places = [f"--basedir={programs.prefix}", f"--datadir={data}"]
    messages = programs.prefix / "share" / "mysql"
    if messages.is_dir():
        places.append(f"--lc-messages-dir={messages}")
    process.run(
        [
            *(programs["mariadb-install-db"], "--no-defaults", *places),
            *("--auth-root-authentication-method=normal", "--skip-test-db", "--force"),
        ]
    )
    # Runs at every start, so each statement can be repeated. The stock accounts have no password: they go.
    logins = process.write(
        "logins.sql",
        f"CREATE USER IF NOT EXISTS root@'%' IDENTIFIED BY '{password}';\n"
        "GRANT ALL PRIVILEGES ON *.* TO root@'%' WITH GRANT OPTION;\n"
        "DROP USER IF EXISTS root@'127.0.0.1', root@'::1', root@localhost, ''@localhost;\n",
    )
    return [
        *(programs["mariadbd"], "--no-defaults", *places, f"--port={process.port}", "--bind-address=127.0.0.1"),
        *(f"--socket={process.home / 'socket'}", f"--pid-file={process.home / 'pid'}", f"--init-file={logins}"),
    ]


# ---- processes of ours --------------------------------------------------------------------------------------


def free_port() -> int:
    """Return a free port below the range that the system hands to outgoing connections.

    A server that is stopped for a while must find its port free again.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 200):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 20000 and 32000 on 127.0.0.1")


def sweep() -> None:
    """End servers whose test run was killed, and remove their folders."""
    for folder in itertools.chain(*(place.glob(f"{FOLDER_PREFIX}*") for place in (_temporary(), MEMORY))):
        with contextlib.suppress(OSError, ValueError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            owner, started = (folder / "owner").read_text().split()
            if _started(int(owner)) == started:
                continue
            pid = int((folder / "server.pid").read_text()) if (folder / "server.pid").exists() else 0
            if pid and str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                _kill_tree(pid)
            shutil.rmtree(folder, ignore_errors=True)


def _private_folder(place: Path | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=place or _temporary()))
    folder.chmod(0o711)  # the server's account must pass through to its home
    return folder


def _memory() -> Path | None:
    """Return a folder in memory with room for a server; creating a database takes a tenth of the time there."""
    there = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    return MEMORY if there else None


def _temporary() -> Path:
    """Return the temporary folder, or /tmp where another account can't pass or a socket's path gets too long."""
    chosen = Path(tempfile.gettempdir()).resolve()
    passable = all(parent.stat().st_mode & 0o001 for parent in (chosen, *chosen.parents))
    return chosen if passable and len(str(chosen)) < 50 else Path("/tmp")


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks: with the id it names a process for good."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "ended" if Path("/proc/self").exists() else "unknown"


def _kill_tree(pid: int) -> None:
    """Kill a process and its children, and wait until none of them is left running.

    PostgreSQL's children lead sessions of their own, so no process group reaches them, and a survivor would hold
    the shared memory that the next start needs.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)  # it must not fork another child while we list them
    tree = [pid, *_children(pid)]
    for each in tree:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while any(_running(each) for each in tree) and time.monotonic() < deadline:
        time.sleep(0.01)


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found + [grandchild for child in found for grandchild in _children(child)]


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# ---- containers ---------------------------------------------------------------------------------------------


class Container:
    """A server in a container on a fixed port of this machine, so that it comes back where it was."""

    def __init__(self, engine: str, settings: Sequence[str], password: str) -> None:
        from testcontainers.core.container import DockerContainer  # a development dependency: not for the demo

        command, inner, variable = {
            "postgresql": (["postgres"], 5432, "POSTGRES_PASSWORD"),
            "mysql": ([], 3306, "MARIADB_ROOT_PASSWORD"),
        }[engine]
        self.port = free_port()
        self._container: Any = (
            DockerContainer(IMAGES[engine])
            .with_env(variable, password)
            .with_command([*command, *settings])
            .with_bind_ports(inner, self.port)
        )
        self._container.start()
        self.host: str = self._container.get_container_host_ip()

    def start(self) -> None:
        self._container.get_wrapped_container().start()  # without effect on a running one

    def stop(self) -> None:
        self._container.get_wrapped_container().stop(timeout=int(STOP_TIMEOUT_S))

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def end(self) -> None:
        self._container.stop()

    def fail_if_ended(self) -> None:
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        if wrapped.status == "exited":
            raise RuntimeError(f"the container ended:\n{wrapped.logs(tail=15).decode(errors='replace')}")


def docker_server(engine: str, settings: Sequence[str], password: str) -> tuple[Container | None, str]:
    """Start a container, or say why there is none: no engine that answers, or no image to be had."""
    if not shutil.which("docker"):
        return None, "there is no docker program"
    try:
        command = ["docker", "info", "--format", "{{.ServerVersion}}"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=DOCKER_ANSWER_S, check=False)
        if answer.returncode or not answer.stdout.strip():
            return None, "no Docker engine answers"
        return Container(engine, settings, password), ""
    except Exception as error:  # noqa: BLE001 - whatever stops Docker, the local programs come next
        return None, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
