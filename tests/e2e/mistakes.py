"""Many mistakes in one installation: a client for each, pulled while all was well, then spoiled, then pulled again.

A process takes a second to start, so that one for each mistake and command would take minutes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.installation import CUSTOMERS, Installation, client

CONFIG, STOPPED, RETRY = 2, 3, 4


@dataclass(frozen=True, slots=True)
class Case:
    """What is wrong, how the run ends, and what its message says.

    `stream` changes the customers' stream (None removes a key), `source` the client's source, and `sql` is what
    another writer does to the source after the first pull. `seen` says that `check` finds it too.
    """

    name: str
    code: int
    says: str
    stream: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    sql: str = ""
    seen: bool = True

    @property
    def client(self) -> str:
        return self.name.replace(" ", "-").replace("'", "")

    @property
    def id(self) -> str:
        return f"{self.client}/customers"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the second pull and `check` made of the mistakes."""

    runs: Mapping[str, Mapping[str, Any]]
    findings: Mapping[str, Sequence[Mapping[str, str]]]
    messages: Sequence[str]
    code: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    def hold(self, case: Case) -> None:
        """Assert that the mistake stopped its stream with one message, and that `check` warns of it."""
        run = self.runs[case.id]
        assert run["state"] == "failed"
        assert run["exit_code"] == case.code, run["error"]
        assert_says(run["error"], case)
        own = [message for message in self.messages if case.id in message]
        warned = [message for message in own if any(text in message for text in run["warnings"])]
        assert [message for message in own if message not in warned] == [f"connector: {run['error']}"], own
        errors = [each for each in self.findings[case.id] if each["grade"] == "error"]
        assert bool(errors) == case.seen, self.findings[case.id]
        assert all(each["remedy"] for each in errors), "a finding without what to do about it"


def assert_says(text: str, case: Case) -> None:
    assert case.id in text, f"which stream? {text}"
    words = case.says.split(" | ")
    assert any(word in text for word in words), f"none of {words} is in: {text}"
    assert ". " in text, f"what is to be done? {text}"


def spoiled(stream: Mapping[str, Any], case: Case) -> dict[str, Any]:
    return {name: value for name, value in {**stream, **case.stream}.items() if value is not None}


def outcome(folder: Path, sources: Mapping[str, Mapping[str, Any]], cases: Sequence[Case], spoil: Any) -> Outcome:
    """Pull every case's client from its source while all is well, call `spoil`, and pull again."""
    good = {case.client: client(sources[case.name], customers=CUSTOMERS) for case in cases}
    bad = {
        case.client: client({**sources[case.name], **case.source}, customers=spoiled(CUSTOMERS, case)) for case in cases
    }
    installation = Installation(folder).write(**good)
    first = installation.run("pull")
    assert first.code == 0, first.err
    before = installation.state()
    spoil()
    installation.write(**bad)
    pull, check = installation.run_all(["pull", "--json"], ["check", "--json"])
    assert check.code == STOPPED, check.err
    findings: dict[str, list[dict[str, str]]] = {}
    for finding in check.document["findings"]:
        findings.setdefault(finding["stream"], []).append(finding)
    runs = {run["stream"]: run for run in pull.document["runs"]}
    return Outcome(runs, findings, pull.messages, pull.code, before, installation.state())
