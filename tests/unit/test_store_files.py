"""Where a store's file may lie, and who may read it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from connector import clock
from connector.config.resolved import StoreSettings
from connector.errors import StoreError
from connector.store import files
from connector.store.store import Store

MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /mnt/share rw shared:5 - nfs4 host:/export rw
31 22 0:26 / /mnt/share/local rw - xfs /dev/vdb rw
32 22 0:27 / /mnt/with\040blank rw - cifs //host/share rw
33 22 0:28 / /mnt/over rw - ext4 /dev/vdc rw
34 33 0:29 / /mnt/over rw - fuse.sshfs host: rw
"""


@pytest.mark.parametrize(
    "path,kind",
    [
        ("/var/lib/connector/store.db", "ext4"),
        ("/mnt/share/store.db", "nfs4"),
        ("/mnt/share/local/store.db", "xfs"),
        ("/mnt/sharelocal/store.db", "ext4"),
        ("/mnt/with blank/store.db", "cifs"),
        ("/mnt/over/store.db", "fuse.sshfs"),
    ],
)
def test_the_innermost_and_topmost_mount_counts(path: str, kind: str) -> None:
    assert files.file_system(Path(path), MOUNTS)[1] == kind


def test_network_file_systems_are_refused_by_name() -> None:
    with pytest.raises(StoreError, match=r"nfs4 at /mnt/share.*local disk"):
        files.refuse_network_file_system(Path("/mnt/share/store.db"), MOUNTS)
    files.refuse_network_file_system(Path("/mnt/share/local/store.db"), MOUNTS)


def test_a_root_over_9p_is_taken_and_any_other_9p_is_not() -> None:
    root = "1 0 0:1 / / rw - 9p root rw\n2 1 0:2 / /mnt/c rw - 9p drvfs rw\n"
    files.refuse_network_file_system(Path("/data/store.db"), root)
    with pytest.raises(StoreError):
        files.refuse_network_file_system(Path("/mnt/c/store.db"), root)


def test_a_store_on_a_network_file_system_is_not_even_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 0 0:1 / / rw - nfs4 host:/ rw\n")
    monkeypatch.setattr(files, "MOUNTS", mounts)
    with pytest.raises(StoreError, match="network"):
        Store.open(StoreSettings(tmp_path / "store.db"))
    assert not (tmp_path / "store.db").exists()


def test_the_store_is_its_owners_alone_log_and_directory_included(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Store.open(StoreSettings(tmp_path / "new" / "store.db")):
            found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    finally:
        os.umask(before)
    assert found == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_store_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Store.open(StoreSettings(path)).close()
    path.chmod(0o644)
    Store.open(StoreSettings(path)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_too_little_room_is_told_before_anything_is_written(tmp_path: Path) -> None:
    space = files.FreeSpace(tmp_path / "store.db", 2**60)
    with pytest.raises(StoreError, match=r"MiB left.*min_free_bytes.*Free some space"):
        space.require()
    files.FreeSpace(tmp_path / "store.db", 0).require()


def test_the_room_is_asked_for_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    asked: list[object] = []
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s[0])
    ask = os.statvfs

    def counted(path: Path) -> os.statvfs_result:
        asked.append(path)
        return ask(path)

    monkeypatch.setattr(os, "statvfs", counted)
    space = files.FreeSpace(tmp_path / "store.db", 0)
    for now_s[0] in (100.0, 100.9, 101.0):
        space.require()
    assert len(asked) == 2
