"""The books as a picture."""

from __future__ import annotations

import math
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from training.economics import Given, assemble
from training.economics.picture import draw
from training.economics.words import in_words

CASE = Given(queries=60_000, input_tokens=500, output_tokens=200, teacher="gpt-4o", once_usd=800)
SVG = "{http://www.w3.org/2000/svg}"


def picture(given: Given) -> ET.Element:
    return ET.fromstring(draw(assemble(given)))


def texts(root: ET.Element) -> str:
    return " ".join("".join(element.itertext()) for element in root.iter(f"{SVG}text"))


def points(root: ET.Element, place: int) -> list[tuple[float, float]]:
    line = list(root.iter(f"{SVG}polyline"))[place].attrib["points"]
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())]


def test_the_lines_cross_where_it_breaks_even():
    root = picture(CASE)
    (x0, _), (x1, teacher_end) = points(root, 0)
    (_, student_start), (_, student_end) = points(root, 1)
    mark = next(root.iter(f"{SVG}circle")).attrib
    part = (float(mark["cx"]) - x0) / (x1 - x0)
    bottom = points(root, 0)[0][1]
    assert float(mark["cy"]) == pytest.approx(bottom + part * (teacher_end - bottom), abs=0.3)
    assert float(mark["cy"]) == pytest.approx(student_start + part * (student_end - student_start), abs=0.3)
    assert "breaks even after 11." in texts(root)
    assert "grey: it never pays" in texts(root)


def test_more_volume_pays_sooner():
    heights = [y for _, y in points(picture(CASE), 2)]
    assert len(heights) > 10
    assert heights == sorted(heights), "in a picture, down is sooner"


def test_what_never_pays_has_no_mark():
    root = picture(replace(CASE, queries=2_000))
    assert not list(root.iter(f"{SVG}circle"))
    assert "never breaks even" in texts(root)


def test_a_free_teacher_and_a_single_query_can_be_drawn():
    assert "never breaks even" in texts(picture(replace(CASE, teacher_price=(0.0, 0.0))))
    assert "never" in texts(picture(replace(CASE, queries=1)))


def test_names_are_text_and_nothing_is_loaded():
    root = picture(replace(CASE, teacher="<b>&x", teacher_price=(2.0, 8.0)))
    assert "<b>&x alone" in texts(root)
    assert "http" not in draw(assemble(CASE)).replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("months", "said"),
    [
        (math.inf, "never"),
        (0.0, "0.0 hours"),
        (0.05, "36.5 hours"),
        (0.5, "15.2 days"),
        (11.5, "11.5 months"),
        (60, "5.0 years"),
    ],
)
def test_times_in_words(months, said):
    assert in_words(months) == said
