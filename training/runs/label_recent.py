"""Having recent traffic labelled, within the run's budget: what has changed is what the student must learn."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from core.errors import BudgetExceededError, DataError
from core.ledger import Run
from core.prices import price_of
from training.answers import AnswerCache, answer_key
from training.data import choose_unanswered
from training.examples import from_answer, write_examples
from training.labelling import label, why_not_ask
from training.runs.context import RunContext
from training.runs.results import About
from training.traffic import Sample, Traffic, Unanswered
from training.workflow import answers_file

ASKED_FILE: Final = "asked.json"
"""Name of the file, in a run's folder, with what it has asked the teacher about."""


class _Chosen(msgspec.Struct, frozen=True):
    """What the run asks the teacher about; written down first, so that a second attempt asks nothing else."""

    exchanges: list[Unanswered]


def label_recent(
    context: RunContext, run: Run, traffic: Traffic, about: About, notes: list[str]
) -> tuple[list[Sample], int, float]:
    """Have recent traffic labelled; return the samples, the calls that the run made, and what they cost in dollars.

    What was answered in earlier runs is used as well. What budget or permissions rule out is added to `notes`: the run
    goes on with what the teacher has said. Raises TeacherError where the teacher fails.
    """
    task = context.task(run)
    labels, teacher = task.label_set(), task.teacher
    with AnswerCache(answers_file(context.settings, run.task)) as cache:
        chosen = _choose(context, run, traffic, about, cache)
        refusal = why_not_ask(task)
        if chosen and refusal:
            notes.append(f"{len(chosen)} recent texts were not labelled: {refusal}")
        elif chosen:
            try:
                asyncio.run(
                    label(
                        [one.text for one in chosen],
                        labels,
                        teacher,
                        cache,
                        task=run.task,
                        budget_usd=task.retrain.label_budget_usd,
                        report=context.report,
                    )
                )
            except BudgetExceededError as error:
                notes.append(f"labelling recent texts ended early: {error.message}")
        price = price_of(teacher)
        asked, cost = 0, 0.0
        for one in chosen:
            answer = cache.get(answer_key(one.text, labels, teacher))
            if answer is not None:
                asked += 1
                cost += price.cost(answer.prompt_tokens, answer.completion_tokens) if price else 0.0
        samples = []
        for one in {one.exchange: one for one in (*traffic.unanswered, *chosen)}.values():
            answer = cache.get(answer_key(one.text, labels, teacher))
            if answer is not None and answer.label is not None:
                samples.append(Sample(from_answer(one.text, answer, source="labelled"), one.exchange, one.at))
    return samples, asked, cost


def _choose(context: RunContext, run: Run, traffic: Traffic, about: About, cache: AnswerCache) -> list[Unanswered]:
    task, path = context.task(run), context.folder(run) / ASKED_FILE
    if path.is_file():
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Chosen).exchanges
        except (OSError, msgspec.DecodeError) as error:
            raise DataError(f"{path}: cannot be read ({error}); start another run") from error
    labels = task.label_set()
    unknown = [one for one in traffic.unanswered if cache.get(answer_key(one.text, labels, task.teacher)) is None]
    chosen = choose_unanswered(
        unknown,
        classes=about.classes,
        known=[sample.example.text for sample in traffic.answered],
        budget=task.retrain.label_budget,
        salt=run.id,
    )
    write_examples(path, [_Chosen(chosen)])
    return chosen
