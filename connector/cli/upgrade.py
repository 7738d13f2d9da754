"""`upgrade`: bring the store to this program's schema."""

from __future__ import annotations

from dataclasses import asdict

import click

from connector.cli.shared import Installation, json_option, pass_installation, print_json
from connector.store.upgrade import Upgraded
from connector.store.upgrade import upgrade as upgrade_store


@click.command()
@json_option
@pass_installation
def upgrade(installation: Installation, as_json: bool) -> int:
    """Bring the store of an older version to this one's schema, after a backup beside it.

    Stop the daemon first: nothing may run meanwhile. It is done whole or not at all, and checked before it counts. A
    store that is up to date, or not there yet, is left alone.

    \b
    Example: connector upgrade
    """
    done = upgrade_store(installation.app.config.store)
    if as_json:
        print_json(asdict(done))
    else:
        click.echo(_said(done))
    return 0


def _said(done: Upgraded) -> str:
    if done.before is None:
        return f"{done.path} is not there yet: the first pull creates it with schema {done.after}"
    if done.backup is None:
        return f"{done.path} has schema {done.after} already: nothing to do"
    return (
        f"{done.path}: schema {done.before} is now {done.after}; "
        f"all {sum(done.rows.values()):,} rows of {len(done.rows)} tables are there\n"
        f"backup of before: {done.backup}"
    )


COMMANDS = (upgrade,)
