"""How OpenAI writes rate limits into headers."""

from __future__ import annotations

Headers = list[tuple[bytes, bytes]]


def duration(seconds: float) -> bytes:
    """Seconds as OpenAI writes them: `0s`, `20ms`, `1s`, `7.66s`, `6m0s`, `1h0m0s`; rounded up to the millisecond."""
    milliseconds = int(seconds * 1000.0 + 0.999999)
    if 0 < milliseconds < 1000:
        return b"%dms" % milliseconds
    if milliseconds < 60_000:
        if milliseconds % 1000 == 0:
            return b"%ds" % (milliseconds // 1000)
        return b"%gs" % (milliseconds / 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    rest = b"%dm%gs" % (minutes % 60, milliseconds / 1000)
    return b"%dh%s" % (minutes // 60, rest) if minutes >= 60 else rest
