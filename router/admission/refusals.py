"""Why a request was refused, for the client and for the operator."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from core.errors import ApiError, QuotaExceededError, RateLimitedError, UnavailableError
from router.admission.buckets import Bucket
from router.admission.budgets import Budget
from router.admission.grants import rate_headers
from router.admission.headers import duration
from router.admission.scopes import Scope

NEVER_RETRY: Final = (b"x-should-retry", b"false")


def refusal(scopes: tuple[Scope, ...], scope: Scope, obstacle: Bucket | Budget, tokens: float, now: float) -> ApiError:
    """The error for a request that an obstacle in one of its scopes forbids."""
    if isinstance(obstacle, Budget):
        return _over_budget(scope, obstacle)
    if obstacle.shut:
        return _unavailable(scope)
    error = _too_large(scopes, tokens) or _over_rate(scopes, scope, obstacle, tokens, now)
    error.headers = (*error.headers, *rate_headers(scopes))
    return error


def _too_large(scopes: tuple[Scope, ...], tokens: float) -> RateLimitedError | None:
    """The error for a request that needs more than a minute's limit, hence passes never."""
    for scope in scopes:
        if scope.tokens is not None and tokens > scope.tokens.capacity:
            error = RateLimitedError(
                f"{_limit(scope, scope.tokens)}, and this request alone needs {tokens:.0f}; make it shorter, ask for "
                "fewer tokens (`max_tokens`), or have tokens_per_minute raised"
            )
            error.headers = (NEVER_RETRY,)
            return error
    return None


def _over_rate(scopes: tuple[Scope, ...], scope: Scope, bucket: Bucket, tokens: float, now: float) -> RateLimitedError:
    # A millisecond more: who waits exactly so long must not come a rounding error too early.
    wait = math.ceil(max(each.seconds_until(tokens, now) for each in scopes) * 1000 + 1) / 1000
    return RateLimitedError(
        f"{_limit(scope, bucket)} ({bucket.dimension}_per_minute); try again in {duration(wait).decode()}",
        retry_after=wait,
    )


def _limit(scope: Scope, bucket: Bucket) -> str:
    return f"the {scope.kind} {scope.name!r} is limited to {bucket.capacity:.0f} {bucket.dimension} a minute"


def _over_budget(scope: Scope, budget: Budget) -> ApiError:
    if budget.spent < budget.limit:
        return _unavailable(scope)
    until = datetime.fromtimestamp(budget.ends, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return QuotaExceededError(
        f"the {scope.kind} {scope.name!r} has spent its ${budget.limit:g} of this {budget.dimension}; it may spend "
        f"again from {until}, or once dollars_per_{budget.dimension} is raised"
    )


def _unavailable(scope: Scope) -> UnavailableError:
    return UnavailableError(
        f"the limits of the {scope.kind} {scope.name!r} cannot be checked while Redis is away, and "
        "gateway.limits_without_redis is `closed`; try again soon",
        code="limits_unavailable",
        retry_after=1.0,
    )
