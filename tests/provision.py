"""Find the programs of a database server, or bring them here.

Ways, in this order, each tried only when the one before it can't be had:

    local     programs that are installed already
    install   as root: `apt-get install`, with the packages' own services kept from starting
    unpack    anyone: `apt-get download` and `dpkg -x` into a cache; nothing of the system is touched

(`docker` comes before all of them, in `servers.py`.) When none works, `ServersMissing` holds the command that a
person must run. A test that needs a server fails then; it never skips.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

APT_TIMEOUT_S = 900
POLICY_FILE = Path("/usr/sbin/policy-rc.d")
CLUSTER_FILE = Path("/etc/postgresql-common/createcluster.d/connector-tests.conf")


class ServersMissing(RuntimeError):
    """Say which server can't be had, why each way failed, and the exact command to run."""


@dataclass(frozen=True, slots=True)
class Product:
    """Name a server's programs and packages; `folders` are globs below a prefix such as `/usr`."""

    name: str
    programs: tuple[str, ...]
    folders: tuple[str, ...]
    packages: tuple[str, ...]


POSTGRESQL = Product("PostgreSQL", ("postgres", "initdb", "psql"), ("lib/postgresql/*/bin", "bin"), ("postgresql",))
MARIADB = Product(
    "MariaDB",
    ("mariadbd", "mariadb-install-db", "mariadb"),
    ("sbin", "bin"),
    ("mariadb-server", "mariadb-client"),
)


@dataclass(frozen=True, slots=True)
class Programs:
    """Where each program is, the prefix they were found under, and what their environment must add."""

    paths: Mapping[str, Path]
    prefix: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, program: str) -> str:
        return str(self.paths[program])


def programs(product: Product, ways: tuple[str, ...] = ("local", "install", "unpack")) -> Programs:
    """Return a product's programs by the first way that works."""
    reasons = []
    for way in ways:
        try:
            found = {"local": _local, "install": _install, "unpack": _unpack}[way](product)
        except (OSError, subprocess.SubprocessError, _NotThisWay) as error:
            reasons.append(f"{way}: {_first_line(error)}")
            continue
        if found is not None:
            return found
        reasons.append(f"{way}: not found")
    raise ServersMissing(missing(product, reasons))


def missing(product: Product, reasons: list[str]) -> str:
    """Write the one text that a person needs: the command to run, and what was tried."""
    if shutil.which("apt-get"):
        sudo = "" if os.geteuid() == 0 else "sudo "
        command = f"{sudo}apt-get update && {sudo}apt-get install -y {' '.join(product.packages)}"
    elif shutil.which("brew"):
        command = f"brew install {'mariadb' if product is MARIADB else 'postgresql'}"
    else:
        command = f"put {', '.join(product.programs)} on PATH, or start a Docker engine"
    return f"{product.name} can't be had on this machine. Run: {command}\n  tried " + "\n  tried ".join(reasons)


class _NotThisWay(Exception):
    pass


def _first_line(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        text = (error.stderr or error.stdout or "").strip().splitlines()
        return f"{' '.join(error.cmd[:3])} … failed: {text[-1] if text else error.returncode}"
    return str(error) or type(error).__name__


# ---- local --------------------------------------------------------------------------------------------------


def _local(product: Product) -> Programs | None:
    prefixes = [Path("/usr"), Path("/usr/local"), Path("/opt/homebrew")]
    first = shutil.which(product.programs[0])
    if first is not None:
        prefixes.insert(0, Path(first).resolve().parent.parent)
    return next((found for prefix in prefixes if (found := _below(prefix, product)) is not None), None)


def _below(prefix: Path, product: Product) -> Programs | None:
    folders = [f for glob in product.folders for f in sorted(prefix.glob(glob), key=_version, reverse=True)]
    paths: dict[str, Path] = {}
    for program in product.programs:
        path = next((f / program for f in folders if os.access(f / program, os.X_OK)), None)
        if path is None:
            return None
        paths[program] = path
    return Programs(paths, prefix)


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.parts if part.isdigit())


# ---- install ------------------------------------------------------------------------------------------------


def _install(product: Product) -> Programs | None:
    if os.geteuid() != 0:
        raise _NotThisWay("needs root")
    if not shutil.which("apt-get"):
        raise _NotThisWay("there is no apt-get")
    with _locked(Path("/var/tmp/connector-tests.lock")), _services_held_back():
        _update([])
        _run(["apt-get", "-q", "-y", "--no-install-recommends", "install", *product.packages])
    return _local(product)


@contextlib.contextmanager
def _services_held_back() -> Iterator[None]:
    """Keep Debian's packages from starting a server or creating a cluster while they are installed."""
    CLUSTER_FILE.parent.mkdir(parents=True, exist_ok=True)
    CLUSTER_FILE.write_text("create_main_cluster = false\n")
    ours = not POLICY_FILE.exists()
    if ours:
        POLICY_FILE.write_text("#!/bin/sh\nexit 101\n")
        POLICY_FILE.chmod(0o755)
    try:
        yield
    finally:
        CLUSTER_FILE.unlink(missing_ok=True)
        if ours:
            POLICY_FILE.unlink(missing_ok=True)


def _update(options: list[str]) -> None:
    """Fetch package lists; one dead source among several is no reason to give up, the install tells."""
    with contextlib.suppress(subprocess.CalledProcessError):
        _run(["apt-get", "-q", *options, "update"])


def _run(command: list[str], cwd: Path | None = None) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=APT_TIMEOUT_S,
        check=True,
    )
    return done.stdout


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one test run at a time install; the others find what it installed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ---- unpack -------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Return the folder for unpacked packages; root's is one that an unprivileged server can reach."""
    if chosen := os.environ.get("CONNECTOR_TEST_CACHE"):
        return Path(chosen)
    return Path("/var/tmp/connector-tests") if os.geteuid() == 0 else Path.home() / ".cache" / "connector-tests"


def _unpack(product: Product) -> Programs | None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise _NotThisWay("there is no apt-get")
    folder = cache_folder() / product.name.lower()
    done = folder / "complete"
    with _locked(cache_folder() / "lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "packages").mkdir(parents=True)
            _download(product, folder)
            for package in sorted((folder / "packages").glob("*.deb")):
                _run(["dpkg", "-x", str(package), str(folder / "root")])
            shutil.rmtree(folder / "packages")
            done.touch()
    found = _below(folder / "root" / "usr", product)
    if found is None:
        return None
    root, triplet = folder / "root", f"{platform.machine()}-linux-gnu"
    libraries = [root / "usr/lib" / triplet, root / "lib" / triplet, root / "usr/lib", root / "lib"]
    return Programs(
        found.paths,
        found.prefix,
        {
            "LD_LIBRARY_PATH": os.pathsep.join(str(path) for path in libraries),
            "PATH": os.pathsep.join([*{str(p.parent) for p in found.paths.values()}, os.environ.get("PATH", "")]),
        },
    )


def _download(product: Product, folder: Path) -> None:
    """Download the packages and those dependencies that this machine lacks.

    The system's package lists may be absent (slim images) or too old; then lists of our own are fetched.
    """
    try:
        _download_with(product, folder, [])
    except subprocess.CalledProcessError:
        state = folder / "apt"
        for needed in ("lists/partial", "archives/partial"):
            (state / needed).mkdir(parents=True, exist_ok=True)
        own = [
            f"Dir::State::Lists={state / 'lists'}",
            f"Dir::Cache={state}",
            "APT::Sandbox::User=",
        ]
        options = [word for option in own for word in ("-o", option)]
        _update(options)
        _download_with(product, folder, options)
        shutil.rmtree(state)


def _download_with(product: Product, folder: Path, options: list[str]) -> None:
    apt = ["apt-get", "-q", *options]
    plan = _run([*apt, "--simulate", "--no-install-recommends", "install", *product.packages])
    wanted = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    sandbox = ["-o", "APT::Sandbox::User="]
    _run([*apt, *sandbox, "download", *(wanted or product.packages)], cwd=folder / "packages")


# ---- who runs it --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged account that a server started by root runs as."""

    uid: int
    gid: int


def unprivileged() -> Account | None:
    """Return the account for servers when we are root, which both servers refuse; else None: run as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "mysql", "connector-test"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    _run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "connector-test"])
    entry = pwd.getpwnam("connector-test")
    return Account(entry.pw_uid, entry.pw_gid)
