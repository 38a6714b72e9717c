"""The way from the gateway to whoever answers: connections, time-outs, breakers, replicas, retries, budgets."""

from router.upstream.answer import Answer, HeaderPairs, Response
from router.upstream.breaker import BreakerState
from router.upstream.build import passthrough_upstream, student_upstream, teacher_upstream
from router.upstream.failures import BrokenOffError, ConnectError, NoConnectionError, UpstreamTimeoutError
from router.upstream.fallback_budget import FallbackBudget
from router.upstream.replicas import Replica
from router.upstream.upstream import Upstream

__all__ = [
    "Answer",
    "BreakerState",
    "BrokenOffError",
    "ConnectError",
    "FallbackBudget",
    "HeaderPairs",
    "NoConnectionError",
    "Replica",
    "Response",
    "Upstream",
    "UpstreamTimeoutError",
    "passthrough_upstream",
    "student_upstream",
    "teacher_upstream",
]
