"""README is held to the program: its configuration loads, its commands exist, its codes and defaults are real."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest

from connector.app import load_config
from connector.cli.main import EXIT_CODES, cli
from connector.config.schema import json_schema

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for word, text in fenced if word == language]


def test_the_first_client_of_the_readme_is_a_valid_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_PASSWORD", "secret")
    for text in blocks("yaml"):
        name = re.match(r"# (\S+)\n", text)
        assert name is not None
        file = tmp_path / name[1]
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    config = load_config(tmp_path)
    assert [str(stream.id) for stream in config.clients[0].streams] == ["acme/customers"]


def test_every_command_is_in_the_readme_and_the_other_way_round() -> None:
    table = set(re.findall(r"^\| `([a-z]+)[ `]", README, re.MULTILINE))
    documented = {
        word for word in table if word in cli.commands or word not in {"run", "warning", "daemon", "schedule"}
    }
    assert documented == set(cli.commands)


def test_the_commands_that_the_readme_shows_are_understood() -> None:
    shown = [line for text in blocks("") for line in text.splitlines() if line.startswith("connector ")]
    assert len(shown) >= 5
    for line in shown:
        words = shlex.split(line, comments=True)[1:]
        with click.Context(cli) as context:
            name = next(word for word in words[2:] if word in cli.commands)
            cli.commands[name].make_context(name, words[words.index(name) + 1 :], parent=context)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_has_help_with_an_example(name: str) -> None:
    text = cli.commands[name].help or ""
    assert re.search(rf"Example: connector .*{name}", text)


def test_the_exit_codes_of_the_readme_are_those_of_the_program() -> None:
    in_readme = set(re.findall(r"^\| (\d+) \|", README, re.MULTILINE))
    assert in_readme == set(re.findall(r"^  (\d+)  ", EXIT_CODES, re.MULTILINE))


def test_every_configuration_key_is_named_in_the_readme() -> None:
    keys: set[str] = set()
    for schema in json_schema().values():
        keys |= {key for part in [schema, *schema.get("$defs", {}).values()] for key in part.get("properties", {})}
    missing = {key for key in keys if not re.search(rf"\b{re.escape(key)}\b", README)}
    assert not missing


def test_the_defaults_in_the_readme_are_those_of_the_schema() -> None:
    options = json_schema()["client.schema.json"]["$defs"]
    for name in ("StreamOptions", "LimitsSection"):
        for key, value in options[name]["properties"].items():
            default = re.search(r"Default: ([\w.]+?)\.?$", value.get("description", ""))
            stated = re.search(rf"`{key}`\s+\((`?[\w. ]+?)[`,)]", README)
            if default and stated:
                assert stated[1].strip("`") in (default[1], json.dumps(default[1]))
