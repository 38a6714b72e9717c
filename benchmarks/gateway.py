"""The gateway beside those that one could install instead: whole answers, streams, and whether anything is left over.

    make peers
    python -m benchmarks.gateway
    python -m benchmarks.gateway --quick --json gateway.json --plot gateway.png

Each peer is started from its PyPI, npm or Debian package, with one worker on core 0; the load generator and the
upstream, which all share, are on core 1. All run at the same time and are measured in turn, in rounds whose order
changes, so that what else happens on the machine hits all alike. A figure is the median over the rounds; a claim about
two gateways is the median of the ratios within a round. "direct" is the upstream without any gateway.

A stream's event costs the upstream and the client together, on core 1, about what it costs a fast gateway on core 0: so
events a second show for some gateways only how much load there was. Streams are judged by the events that a gateway
sends for each second of its core's time, which is the same where the gateway is the limit; the table shows both.

Tutelage has everything on: an API key, limits, policy, metrics, and the journal to a real Redis. Its worker is what
runs on core 0; the shipper and Redis share core 1 with the load. Whole answers come from the student. Streams come from
the task's teacher, over plain HTTP: a classifier has nothing to stream, and this is the path that passes bytes on as
they come. The peers know no keys and keep no books, unless they cannot be told not to.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks._gateway_claims import DIRECT, OURS, RIVAL, SLOWEST, Outcome, claims, closing
from benchmarks._gateway_endurance import EndurancePlan, endure
from benchmarks._gateway_peers import LOAD_CORE, PEERS, Site, Starter, Target, check, free_port
from benchmarks._gateway_plot import draw
from benchmarks._gateway_process import ROOT, StartError, pinned, wait_until_answers
from benchmarks._gateway_rounds import Plan, measure
from benchmarks._gateway_table import print_tables
from benchmarks._gateway_tutelage import STUDENT, await_journal, tutelage
from benchmarks._report import add_options, conclude, wide_console
from core.errors import TutelageError

_QUICK_PEERS: Final = ("nginx", RIVAL, SLOWEST)
_FULL: Final = (Plan(rounds=5, seconds=3), EndurancePlan(requests=200_000, broken_off=10_000, portions=10))
_QUICK: Final = (Plan(rounds=1, seconds=1), EndurancePlan(requests=3000, broken_off=300, portions=2))
_BUSY: Final = 0.5
"""Load average of a machine that has other things to do."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    console = wide_console()
    with tempfile.TemporaryDirectory(prefix="tutelage-gateway-") as folder, ExitStack() as running:
        try:
            outcome = _run(options, Path(folder), running, console)
        except (StartError, TutelageError) as error:
            console.print(f"[bold red]error[/bold red]: {error}")
            return 1
    for name, why in outcome.missing.items():
        console.print(f"[yellow]{name} was not measured[/yellow]: {why}", soft_wrap=True)
    if outcome.rounds:
        print_tables(outcome.medians, DIRECT, outcome.versions, console)
        if options.plot:
            draw(options.plot, outcome.medians, OURS, DIRECT)
    details = asdict(outcome) | {"median": outcome.medians, "quick": options.quick}
    judged = claims(outcome, _chosen(options), quick=options.quick)
    return conclude("gateway", judged, details, closing(outcome), options.json)


def _run(options: argparse.Namespace, folder: Path, running: ExitStack, console: Console) -> Outcome:
    outcome = Outcome(load_average=os.getloadavg()[0])
    if outcome.load_average > _BUSY:
        console.print(
            f"[yellow]this machine is busy (load {outcome.load_average:.1f}): the figures will be poor[/yellow]"
        )
    plan, endurance = _QUICK if options.quick else _FULL
    site = Site(running.enter_context(_upstream(folder)), folder, options.peers_env)
    ours = running.enter_context(tutelage(site))
    check(ours)
    if not options.endurance:
        with ExitStack() as beside:
            others = _start_peers(_chosen(options), site, beside, outcome, console)
            targets = [Target(DIRECT, "", site.upstream), ours, *others]
            outcome.versions = {target.name: target.version for target in targets}
            outcome.rounds = measure(targets, plan, folder, console.print)
    outcome.endurance = endure(ours, site, endurance, console.print)
    outcome.answered, outcome.journalled = await_journal(ours, site)
    return outcome


@contextmanager
def _upstream(folder: Path) -> Iterator[str]:
    port, log = free_port(), folder / "upstream.log"
    command = (sys.executable, "-m", "benchmarks._gateway_upstream", "--port", str(port), "--version", STUDENT)
    with pinned(command, LOAD_CORE, log) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until_answers(f"{url}/health", process, log)
        yield url


def _start_peers(
    chosen: Mapping[str, Starter], site: Site, running: ExitStack, outcome: Outcome, console: Console
) -> list[Target]:
    """Start those that can be started; the others, and why, are noted in `outcome`."""
    targets = []
    for name, start in chosen.items():
        with ExitStack() as attempt:
            try:
                target = attempt.enter_context(start(site))
                check(target)
            except StartError as error:
                outcome.missing[name] = str(error)
                continue
            running.push(attempt.pop_all())
            targets.append(target)
            console.print(f"{name} {target.version} runs at {target.url}")
    return targets


def _chosen(options: argparse.Namespace) -> dict[str, Starter]:
    names = options.peers or (_QUICK_PEERS if options.quick else tuple(PEERS))
    return {name: PEERS[name] for name in names}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.gateway", description=(__doc__ or "").partition("\n")[0])
    add_options(parser)
    parser.add_argument("--peers", nargs="+", choices=tuple(PEERS), help="beside these; by default all that there are")
    parser.add_argument("--peers-env", type=Path, default=ROOT / ".venv-peers", help="where `make peers` put them")
    parser.add_argument("--endurance", action="store_true", help="only whether anything is left over")
    return parser


if __name__ == "__main__":
    sys.exit(main())
