"""Whether to distil at all: facts, a table of rules, and a decision with its reasons."""

from training.advice.answers import QUESTIONS, Answers, answered, missing, parse, read_answers
from training.advice.case import facts_of, measured_by, read_seen, set_by
from training.advice.facts import Drift, Facts, Kind, Privacy, Seen, Tried, most_fallback
from training.advice.rules import RULES, Advice, Decision, Ground, decide

__all__ = [
    "QUESTIONS",
    "RULES",
    "Advice",
    "Answers",
    "Decision",
    "Drift",
    "Facts",
    "Ground",
    "Kind",
    "Privacy",
    "Seen",
    "Tried",
    "answered",
    "decide",
    "facts_of",
    "measured_by",
    "missing",
    "most_fallback",
    "parse",
    "read_answers",
    "read_seen",
    "set_by",
]
