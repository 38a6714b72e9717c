"""Admission: who asks, for which task, and how much of it.

`keyring` finds the API key of a request, and `keykeeper` keeps the ring of keys fresh beside the request path. Nothing
that a request meets here waits for anybody.
"""

from router.admission.grants import Grant
from router.admission.keykeeper import KeyKeeper
from router.admission.keyring import KeyRing, authorization_of, check_task
from router.admission.limiter import Limiter

__all__ = ["Grant", "KeyKeeper", "KeyRing", "Limiter", "authorization_of", "check_task"]
