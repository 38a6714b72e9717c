"""The step `canary`: a small share of live requests is the candidate's, before all are.

What it says has been judged by then, on the hold-out and on trial; here it is seen whether it answers at all, and in
time, under the load of clients. What it does not answer the teacher does, so no client sees anything of it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.ledger import Canary, Run
from core.records import Kind, Reason
from training.canary import Seen, Side, objections
from training.progress import Progress
from training.promotion import CHAMPION, begin_canary
from training.register import write_trust
from training.runs.context import RunContext
from training.runs.results import CanaryResult, RegisterResult, needed
from training.runs.trial import tried
from training.runs.trust_evidence import judge_candidate

_HOUR: Final = 3600.0
_FAILED: Final = (Reason.RETRY_FALLBACK.value, Reason.OVER_DEADLINE.value)

# Where the challenger's breaker was open it was not asked. A user who was the champion's before the gateway knew of the
# canary, and met a failure then, stays the champion's.
_COUNTED: Final = """
    WITH asked AS (
        SELECT "at", coalesce(canary, '') = $1 AS challenger, coalesce(nullif("user", ''), id) AS one,
            reason IN ($4, $5) AS failed
        FROM records
        WHERE "at" >= to_timestamp($3) AND reason <> $6 AND (
            canary = $1 OR (coalesce(canary, '') = '' AND (student_version = $2 OR reason IN ($4, $5)))
        )
    ), users AS (
        SELECT arg_min(challenger, "at") AS challenger FROM asked WHERE failed GROUP BY one
    )
    SELECT challenger, count(*) AS requests, count(*) FILTER (failed) AS failed,
        (SELECT count(*) FROM users WHERE users.challenger = asked.challenger) AS failed_users
    FROM asked GROUP BY challenger
"""

_TIMED: Final = """
    SELECT own.upstream_ms AS own, champion.upstream_ms AS champion
    FROM (
        SELECT "at", upstream_ms FROM records WHERE "at" >= to_timestamp($3) AND canary = $1 AND reason = $4
    ) AS own
    ASOF JOIN (
        SELECT "at", upstream_ms FROM records
        WHERE "at" >= to_timestamp($3) AND student_version = $2 AND reason = $5
    ) AS champion ON own."at" >= champion."at"
"""


def watch_canary(context: RunContext, run: Run) -> CanaryResult | None:
    """What the canary has shown, or None while it goes on; the first call begins it.

    It ends early where something speaks against the candidate.
    """
    settings, version = context.task(run).retrain, needed(run, "register", RegisterResult).version
    champion = context.registry.version_of(run.task, CHAMPION)
    if champion == version:
        return CanaryResult("by_hand")
    if champion != run.champion:
        return CanaryResult("replaced", refusals=[f"version {champion} became champion during its canary"])
    if not settings.canary_share or not settings.canary_requests:
        return CanaryResult("skipped")
    canary = context.ledger.canaries.get(run.task)
    if canary is None or canary.version != version:
        canary = _begin(context, run, version)
    seen, hours = look(context, run, canary), (context.clock() - canary.at) / _HOUR
    requests = seen.challenger.requests
    context.report(Progress("canary", min(requests, settings.canary_requests), settings.canary_requests))
    refusals = objections(seen, settings.canary_slowdown)
    if refusals:
        ended = "stopped"
    elif requests >= settings.canary_requests:
        ended = "complete"
    elif hours >= settings.canary_hours:
        ended = "timeout"
        if not requests:
            refusals = [f"no live request came to it in {hours:.1f} hours"]
    else:
        return None
    return CanaryResult(
        ended, canary.share, hours, seen.challenger, seen.champion, seen.slowdown, [f"as canary: {r}" for r in refusals]
    )


def look(context: RunContext, run: Run, canary: Canary) -> Seen:
    """What has been asked of the two since the canary began, as far as it is archived."""
    between = [canary.version, run.champion, canary.at]
    counted = context.archive.query(
        _COUNTED, run.task, Kind.EXCHANGE, [*between, *_FAILED, Reason.BREAKER_OPEN.value], since=canary.at
    )
    sides = {
        row["challenger"]: Side(row["requests"], row["failed"], row["failed_users"]) for row in counted.to_pylist()
    }
    answered = [Reason.CHALLENGER.value, Reason.CHAMPION.value]
    timed = context.archive.query(_TIMED, run.task, Kind.EXCHANGE, [*between, *answered], since=canary.at)
    times = np.column_stack([timed.column(name).to_numpy() for name in ("own", "champion")]).astype(np.float64)
    return Seen(canary.share, sides.get(True, Side()), sides.get(False, Side()), times)


def _begin(context: RunContext, run: Run, version: str) -> Canary:
    """Let it answer what its trial has earned it: trust first, then its share."""
    judged = judge_candidate(context, run, tried(context, run, version))
    write_trust(context.ledger, run.task, version, judged.verdicts, judged.threshold)
    canary = Canary(run.task, version, context.task(run).retrain.canary_share, context.clock())
    return begin_canary(context.ledger, canary, actor=context.actor, run=run.id)
