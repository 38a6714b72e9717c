"""One process's metrics: the tallies of the request path, and everything rarer as prometheus_client keeps it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from core.records import Exchange
from router.metrics.followed import FollowedCounter
from router.metrics.report import Merge, Report, read_registry, render
from router.metrics.tally import OTHER, StreamTally, Tally, code_of
from router.sampling import Sampler

if TYPE_CHECKING:
    from router.admission import Limiter
    from router.upstream import FallbackBudget, Replica, Upstream

_BREAKER_STATES: Final = {"closed": 0.0, "half_open": 1.0, "open": 2.0}

_COUNTED_AT_ONCE: Final = 64

_MAX_ERRORS: Final = 256
"""Pairs of code and status that errors are told apart by."""


class Metrics:
    """The metrics of one process, with a registry of its own. For one event loop.

    Gauges are given a function (`gauge.labels(...).set_function(read)`), since nobody can know which process a scrape
    reaches: every one must have its numbers at hand at any time. The functions must not wait for anything.
    """

    def __init__(self, tasks: Collection[str] = ()) -> None:
        """`tasks` are the task labels that exist; exchanges of any other are counted as `other`."""
        self._tasks = frozenset(tasks)
        self._tallies: dict[tuple[str, str, str, int], Tally] = {}
        self._uncounted: list[Exchange] = []
        self._others: dict[tuple[str, ...], Tally] = {}
        self._streams: dict[tuple[str, str], StreamTally] = {}
        self._error_keys: set[tuple[str, str]] = set()
        self._registry = CollectorRegistry()
        self._merges: dict[str, Merge] = {}
        self._source: Callable[[], Awaitable[bytes]] | None = None

        self._feedback = self._counter("feedback", "Feedback received.", "task")
        self._errors = self._counter("errors", "Requests refused or failed.", "code", "status")
        self.records_dropped = self._counter("records_dropped", "Records that the local log could not take.")
        self.unknown_templates = self._counter(
            "unknown_templates", "Prompt templates seen for the first time that the task does not know.", "task"
        )
        self.in_flight = self._gauge("in_flight", "Requests under way.")
        self.student_up = self._gauge("student_up", "1 where the student server answers every worker.", merge="min")
        self.trusted_classes = self._gauge(
            "trusted_classes", "Classes that the champion may answer.", "task", merge="max"
        )
        self._scale = self._gauge(
            "shadow_scale",
            "What the budget leaves of every sampling probability: 1 where it is not felt; the least of all workers.",
            "task",
            merge="min",
        )
        self._add_upstreams()
        self._add_limits()
        cpu = FollowedCounter("process_cpu_seconds", "CPU time of all processes of the gateway.", (), self._registry)
        cpu.follow(time.process_time)

    def tally(self, task: str, answered_by: str, reason: str, status: int) -> Tally:
        """Where exchanges that end like this are counted. It may be kept for as long as the process lives."""
        tally = self._tallies.get((task, answered_by, reason, status))
        return tally if tally is not None else self._new_tally(task, answered_by, reason, status)

    def stream(self, task: str, answered_by: str) -> StreamTally:
        """Where streamed answers like this are counted. It may be kept for as long as the process lives."""
        if task not in self._tasks:
            task = OTHER
        tally = self._streams.get((task, answered_by))
        if tally is None:
            tally = self._streams[task, answered_by] = StreamTally(task, str(answered_by))
        return tally

    def exchange(self, record: Exchange) -> None:
        """Count one finished exchange.

        It is kept and added up with others, at the latest for the next report: at once it would cost thrice as much.
        """
        uncounted = self._uncounted
        uncounted.append(record)
        if len(uncounted) >= _COUNTED_AT_ONCE:
            self._count()

    def _count(self) -> None:
        uncounted, self._uncounted = self._uncounted, []
        for record in uncounted:
            usage = record.usage
            self.tally(record.task, record.answered_by, record.reason, record.status).add(
                record.total_ms / 1000,
                record.upstream_ms / 1000,
                usage.prompt_tokens,
                usage.completion_tokens,
                record.cost_usd,
                record.shadow,
            )

    def error(self, status: int, code: str | None) -> None:
        """Count one error answer. `code` is one of the error tree's, or an upstream's."""
        key = (code or "none", code_of(status))
        if key not in self._error_keys:
            if len(self._error_keys) >= _MAX_ERRORS:
                key = (OTHER, OTHER)
            self._error_keys.add(key)
        self._errors.labels(*key).inc()

    def feedback(self, task: str) -> None:
        """Count one piece of feedback."""
        self._feedback.labels(task).inc()

    def follow_scale(self, task: str, sampler: Sampler) -> None:
        """Show the sampler's scale."""
        self._scale.labels(task).set_function(lambda: sampler.scale)

    def follow_upstream(self, upstream: Upstream, name: str) -> None:
        """Show how an upstream goes, and each of its replicas, under a name that no other has."""
        self._asked.follow(lambda: upstream.requests, name)
        self._failures.follow(lambda: upstream.failures, name)
        self._retries.follow(lambda: upstream.retries, name)
        for replica in upstream.replicas:
            self._follow_replica(name, replica)

    def follow_limiter(self, limiter: Limiter) -> None:
        """Show whether the limits are shared, and what they refuse."""
        self._limiter_redis_up.set_function(lambda: limiter.redis_up)
        self._limiter_ledger_up.set_function(lambda: limiter.ledger_up)
        self._refusals.follow_table(limiter.refused.items)

    def follow_budget(self, task: str, budget: FallbackBudget) -> None:
        """Show how far a task's fallback budget is used."""
        self._fallback_share.labels(task).set_function(lambda: budget.share)
        self._fallback_used.labels(task).set_function(lambda: budget.used)
        self._fallback_warning.labels(task).set_function(lambda: budget.warning)
        self._fallback_spent.labels(task).set_function(lambda: budget.used >= 1)
        self._fallback_refusals.follow(lambda: budget.refused, task)

    def report(self) -> Report:
        """All numbers as they are now. The tallies in it go on counting."""
        self._count()
        return Report(
            [*self._tallies.values(), *self._others.values()],
            list(self._streams.values()),
            read_registry(self._registry, self._merges),
        )

    def render(self) -> bytes:
        """The numbers of this process alone, in Prometheus' text format."""
        return render(self.report())

    def exposed_by(self, source: Callable[[], Awaitable[bytes]]) -> None:
        """From now on `exposition` asks `source`, which knows the numbers of all processes."""
        self._source = source

    async def exposition(self) -> bytes:
        """What `/metrics` answers. Raises UnavailableError where the parent process does not say in time."""
        return self.render() if self._source is None else await self._source()

    def _follow_replica(self, name: str, replica: Replica) -> None:
        labels = name, str(replica.index)
        self._breaker_state.labels(*labels).set_function(lambda: _BREAKER_STATES[replica.breaker.state])
        self._outstanding.labels(*labels).set_function(lambda: replica.outstanding)
        self._ejections.follow(lambda: replica.breaker.openings, *labels)

    def _new_tally(self, task: str, answered_by: str, reason: str, status: int) -> Tally:
        code = code_of(status)
        if task in self._tasks and code != OTHER:
            tally = Tally(task, str(answered_by), str(reason), code)
            self._tallies[task, answered_by, reason, status] = tally
            return tally
        key = (task if task in self._tasks else OTHER, str(answered_by), str(reason), code)
        return self._others.setdefault(key, Tally(*key))

    def _add_upstreams(self) -> None:
        """What the upstreams' own objects know of themselves."""
        self._breaker_state = self._gauge(
            "upstream_breaker_state",
            "Circuit breaker of a replica: 0 closed, 1 half open, 2 open; the highest of all workers.",
            "upstream",
            "replica",
            merge="max",
        )
        self._outstanding = self._gauge(
            "upstream_outstanding", "Requests under way at a replica.", "upstream", "replica"
        )
        self._ejections = self._followed(
            "upstream_ejections", "Times that a replica's breaker opened.", "upstream", "replica"
        )
        self._asked = self._followed("upstream_requests", "Requests to an upstream, retries not counted.", "upstream")
        self._failures = self._followed("upstream_failures", "Requests that an upstream failed in the end.", "upstream")
        self._retries = self._followed("upstream_retries", "Requests sent to an upstream once more.", "upstream")

    def _add_limits(self) -> None:
        """Limits of keys and tasks, and the budgets of falling back."""
        self._limiter_redis_up = self._gauge(
            "limiter_redis_up", "1 while Redis gives leases of the quotas to every worker.", merge="min"
        )
        self._limiter_ledger_up = self._gauge(
            "limiter_ledger_up", "1 while the ledger takes every worker's sums of dollars.", merge="min"
        )
        self._refusals = self._followed(
            "limiter_refusals", "Requests refused by a limit: of a key or a task, and which.", "scope", "limit"
        )
        self._fallback_share = self._gauge(
            "fallback_share",
            "Share of recent requests that fell back; the highest of all workers.",
            "task",
            merge="max",
        )
        self._fallback_used = self._gauge(
            "fallback_budget_used", "Part of the budget that is used; the highest of all workers.", "task", merge="max"
        )
        self._fallback_warning = self._gauge(
            "fallback_budget_warning", "1 where the budget will soon be spent in any worker.", "task", merge="max"
        )
        self._fallback_spent = self._gauge(
            "fallback_budget_spent", "1 where the budget is spent in any worker.", "task", merge="max"
        )
        self._fallback_refusals = self._followed(
            "fallback_refusals", "Times that the budget forbade to fall back.", "task"
        )

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"tutelage_gateway_{name}", documentation, labels, registry=self._registry)

    def _gauge(self, name: str, documentation: str, *labels: str, merge: Merge = "sum") -> Gauge:
        full = f"tutelage_gateway_{name}"
        self._merges[full] = merge
        return Gauge(full, documentation, labels, registry=self._registry)

    def _followed(self, name: str, documentation: str, *labels: str) -> FollowedCounter:
        return FollowedCounter(f"tutelage_gateway_{name}", documentation, labels, self._registry)
