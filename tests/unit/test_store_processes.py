"""Which processes are certainly gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from connector.store import processes

HOST = socket.gethostname()


def _child() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_this_process_is_there() -> None:
    holder = processes.this_holder()
    assert (holder.host, holder.pid) == (HOST, os.getpid())
    assert not processes.is_gone(holder.host, holder.pid, holder.started)


def test_two_uses_in_one_process_are_told_apart() -> None:
    assert processes.this_holder().token != processes.this_holder().token


def test_a_killed_process_is_gone_even_before_its_parent_has_noticed() -> None:
    with _child() as child:
        started = processes.started(child.pid)
        assert started
        assert not processes.is_gone(HOST, child.pid, started)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the process table
        assert processes.is_gone(HOST, child.pid, started)
    assert processes.is_gone(HOST, child.pid, started)


def test_a_later_process_of_the_same_number_is_another_one() -> None:
    boot, namespace, start = processes.this_holder().started.split(":")
    assert processes.is_gone(HOST, os.getpid(), f"{boot}:{namespace}:{int(start) - 1}")


def test_no_process_outlives_the_machine() -> None:
    _, namespace, start = processes.this_holder().started.split(":")
    assert processes.is_gone(HOST, os.getpid(), f"earlier-boot:{namespace}:{start}")


def test_other_hosts_and_other_containers_cannot_be_judged_from_here() -> None:
    boot, namespace, start = processes.this_holder().started.split(":")
    assert not processes.is_gone("elsewhere", 2**22, f"{boot}:{namespace}:1")
    assert not processes.is_gone(HOST, 2**22, f"{boot}:{int(namespace) + 1}:{start}")


def test_without_proc_the_number_alone_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert processes.this_holder().started == ""
    assert not processes.is_gone(HOST, os.getpid(), "")
    with _child() as child:
        child.kill()
    assert processes.is_gone(HOST, child.pid, "")


def test_a_process_that_is_hidden_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", hidden)
    holder = processes.this_holder()
    assert not processes.is_gone(HOST, 2**22, holder.started)
