from __future__ import annotations

import pytest

from core.data_files import check_labels, read_columns, read_rows
from core.errors import DataError
from core.labels import LabelSet


def test_csv_as_spreadsheets_write_it(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbftext,label\r\n"Where, oh where?",order\r\n  ,order\r\n"two\nlines", refund \r\n')
    rows = read_rows(path, label_column="label")
    assert [(row.text, row.label, row.number) for row in rows] == [
        ("Where, oh where?", "order", 2),
        ("two\nlines", "refund", 4),
    ]
    assert read_columns(path) == ["text", "label"]


def test_jsonl(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": null}\n\n{"text": "b", "label": "x", "more": 1}\n', encoding="utf-8")
    rows = read_rows(path, label_column="label")
    assert [(row.text, row.label, row.number) for row in rows] == [("a", None, 1), ("b", "x", 3)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "txt,label\nhello,x\n", r"a\.csv, row 2: has no column 'text'; did you mean 'txt'\?"),
        ("a.csv", "body,label\nhello,x\n", r"has no column 'text'; it has 'body', 'label'"),
        ("a.csv", "text,label\nhello, world,x\n", r"row 2: has more fields than the header; quote"),
        ("a.csv", "text\n", r"holds no row with a text in column 'text'"),
        ("a.csv", 'text\n"unfinished', r"row 2: is not valid CSV"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', r"row 2: is not valid JSON"),
        ("a.jsonl", '["a"]\n', r"row 1: is not a JSON object"),
        ("a.jsonl", '{"text": "a"}\n{"Text": "b"}\n', r"row 2: has no column 'text'; did you mean 'Text'\?"),
        ("a.jsonl", '{"text": 3}\n', r"row 1, column 'text': is not a text but int"),
        ("a.xlsx", "", r"is neither \.csv, \.tsv nor \.jsonl"),
    ],
)
def test_errors_name_the_place(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_rows(path)


def test_a_missing_file_and_a_foreign_encoding(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_rows(tmp_path / "none.csv")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("text\nGrüße\n".encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8"):
        read_rows(latin)


def test_labels_are_checked_with_the_nearest_one_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,refund\nb,refunds\n", encoding="utf-8")
    rows = read_rows(path, label_column="label")
    with pytest.raises(
        DataError, match=r"row 3, column 'label': the task has no label 'refunds'; did you mean 'refund'"
    ):
        check_labels(path, rows, LabelSet(["refund", "order"]))
    path.write_text("text,label\na,\n", encoding="utf-8")
    with pytest.raises(DataError, match="row 2, column 'label': the label is missing"):
        check_labels(path, read_rows(path, label_column="label"), LabelSet(["refund", "order"]))
