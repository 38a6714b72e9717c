"""The command line. Each command lives in `tutelage/commands/` and imports what is heavy only when it runs."""

from __future__ import annotations

import sys

import typer

from core.errors import TutelageError
from tutelage.commands.advise import advise
from tutelage.commands.alarms import alarms
from tutelage.commands.economics import economics
from tutelage.commands.forget import forget
from tutelage.commands.init import init
from tutelage.commands.keys import keys
from tutelage.commands.label import label
from tutelage.commands.monitor import monitor
from tutelage.commands.power import power
from tutelage.commands.promote import promote
from tutelage.commands.report import report
from tutelage.commands.review import review
from tutelage.commands.roles import archiver, gateway, student
from tutelage.commands.rollback import rollback
from tutelage.commands.runs import runs
from tutelage.commands.shadow import shadow
from tutelage.commands.status import status
from tutelage.commands.students import students
from tutelage.commands.templates import templates
from tutelage.commands.train import train
from tutelage.commands.trainer import trainer
from tutelage.commands.up import up


def build_app() -> typer.Typer:
    """The command line as an app."""
    app = typer.Typer(
        name="tutelage",
        help="Let a small distilled student take over a frontier model's narrow job, and keep it honest.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for everyday in (up, status, forget):
        app.command()(everyday)
    for question in (advise, economics):
        app.command(rich_help_panel="Whether it pays")(question)
    for step in (init, label, train, students):
        app.command(rich_help_panel="A task, from data to student")(step)
    for decision in (power, alarms, report, review, runs, promote, rollback):
        app.command(rich_help_panel="Watching and deciding")(decision)
    app.add_typer(templates(), name="templates", rich_help_panel="Watching and deciding")
    app.add_typer(keys(), name="keys", rich_help_panel="Who may ask")
    for role in (gateway, student, archiver, shadow, monitor, trainer):
        app.command(rich_help_panel="Roles, one process each")(role)
    return app


def main() -> None:
    """Entry point of `tutelage`. What goes wrong on purpose is told in one line, without a traceback."""
    try:
        build_app()()
    except TutelageError as error:
        typer.secho(f"error: {error.message}", fg="red", err=True)
        sys.exit(1)
