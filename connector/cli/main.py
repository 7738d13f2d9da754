"""The command line: one group, its commands in the modules beside this one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from connector.cli import look, pulls, shared, show, upgrade
from connector.errors import ConnectorError
from connector.observe import log

EXIT_CODES = """
\b
Exit codes:
  0  done
  1  a mistake of the program's own
  2  the configuration or the command has to be corrected
  3  a stream stopped until a person acts (login, missing table, another tenant's row …)
  4  try again later (the source is not reachable, another run holds the stream)
  5  the store can't be used (a second daemon, disk full, a newer schema …)
  130  stopped by a signal; the next run goes on where this one was
"""


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    envvar="CONNECTOR_CONFIG",
    default=Path("config/connector.yaml"),
    show_default=True,
    help="connector.yaml, or the folder that holds it; $CONNECTOR_CONFIG says the same.",
)
@click.version_option(package_name="connector")
@click.pass_context
def cli(context: click.Context, path: Path) -> None:
    """Pull what changed from clients' databases into the ingestion core."""
    context.obj = shared.Installation(path)
    context.call_on_close(context.obj.close)


for command in (*look.COMMANDS, *pulls.COMMANDS, *show.COMMANDS, *upgrade.COMMANDS):
    cli.add_command(command)


def main() -> None:
    """Run the command line; an error of ours is one message and its exit code, never a traceback."""
    try:
        with cli.make_context("connector", sys.argv[1:]) as context:
            code = cli.invoke(context)
    except ConnectorError as error:
        click.echo(f"connector: {error}", err=True)
        code = error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        code = 130
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except BrokenPipeError:  # who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:  # noqa: BLE001 - the last resort; its text may hold values; the place is what a report needs
        click.echo(f"connector: internal error: {log.place(error)}; please report it", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
