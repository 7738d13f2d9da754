"""The image and the compose file, as far as they can be proven without a Docker engine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from connector.app import load_config
from tests.servers import Database

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))


def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile as (word, rest), continuation lines joined."""
    text = re.sub(r"\\\n\s*", "", (DOCKER / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def all_of(word: str) -> list[str]:
    return [rest for name, rest in dockerfile() if name == word]


def test_the_script_takes_exactly_the_steps_of_the_dockerfile() -> None:
    script = (DOCKER / "container_steps.sh").read_text(encoding="utf-8")
    assert re.findall(r"^step '(.*)'$", script, re.MULTILINE) == all_of("RUN")


def test_the_dockerfile_copies_exactly_what_the_ignore_file_lets_through() -> None:
    from_context = [copy.split()[:-1] for copy in all_of("COPY") if "--from" not in copy]
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = [line[1:] for line in ignored if line.startswith("!")]
    assert sorted(path for paths in from_context for path in paths) == sorted(let_through)
    assert all((ROOT / path).exists() for path in let_through)


def test_the_image_runs_the_daemon_as_nobody_in_particular() -> None:
    assert (all_of("USER"), all_of("ENTRYPOINT"), all_of("CMD")) == (["10001:10001"], ['["connector"]'], ['["run"]'])
    assert all_of("STOPSIGNAL") == ["SIGTERM"]
    assert all_of("VOLUME") == ["/data"]


@pytest.mark.full
def test_the_steps_of_the_image_give_a_connector_that_starts(tmp_path: Path) -> None:
    image = tmp_path / "image"
    done = subprocess.run([DOCKER / "container_steps.sh", image], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list((image / "src").rglob("__pycache__")) == []
    for arguments in (["--help"], ["schema"], ["run", "--help"]):
        # An empty environment and folder: nothing of this checkout may be needed.
        said = subprocess.run(
            [image / "opt/connector/bin/connector", *arguments],
            cwd=image / "data",
            env={},
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, said.stderr
        assert said.stdout


def test_every_file_that_compose_mounts_is_there() -> None:
    mounts = [mount.split(":")[0] for service in COMPOSE["services"].values() for mount in service["volumes"]]
    assert all((DOCKER / mount).exists() for mount in mounts if mount.startswith("."))


def test_the_configuration_of_compose_names_its_services(monkeypatch: pytest.MonkeyPatch) -> None:
    service = COMPOSE["services"]["connector"]
    for name, value in service["environment"].items():
        monkeypatch.setenv(name, value)
    config = load_config(DOCKER / "config" / "connector.yaml")
    assert {client.source.host for client in config.clients} == set(COMPOSE["services"]) - {"connector"}
    assert {client.source.database for client in config.clients} == {"shop"}
    assert config.store.path.parent == Path("/data")
    assert service["stop_grace_period"] == "1m"
    assert config.daemon.stop_timeout_s < 60


@pytest.mark.parametrize("product", ["postgresql", "mariadb"])
def test_the_seed_gives_a_login_that_reads_the_shop(product: str, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue(f"{product}_database")
    for name in ("shop.sql", f"{product}-login.sql"):
        database.execute((DOCKER / "seed" / name).read_text(encoding="utf-8"))
    try:
        password = COMPOSE["services"]["connector"]["environment"]["SHOP_PASSWORD"]
        with database.connect(user="connector", password=password) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM customers WHERE user_id = 'acme-corp'")
            assert cursor.fetchone() == (3,)
    finally:
        database.server.drop_login("connector", database=database.name)
