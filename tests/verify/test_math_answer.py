"""Answers in mathematics: equal is correct, what cannot be read is wrong, and only the data's faults are none."""

import pytest

pytest.importorskip("math_verify")

from forkpoint.verify.math_answer import BOXED, DEEPEST, LONGEST, MOST_DIGITS, boxed, math_answer, over_caps

RIGHT = [
    ("42", r"\boxed{42}"),
    ("42", r"\boxed{84/2}"),
    ("42", r"\boxed{x = 42}"),
    ("42", r"\boxed{41} no, \boxed{42}"),
    (r"\frac{1}{2}", r"\boxed{0.5}"),
    (r"\boxed{\frac{1}{2}}", r"\boxed{\dfrac{2}{4}}"),
    ("x^2", r"\boxed{x \cdot x}"),
    ("(1, 2)", r"\boxed{(1,2)}"),
    (r"\sqrt{2}/2", r"\boxed{\frac{1}{\sqrt{2}}}"),
]
WRONG = [
    ("42", "42"),
    ("42", ""),
    ("42", r"\boxed{}"),
    ("42", r"\boxed{41}"),
    ("42", r"\boxed{42} or \boxed{41}"),
    ("42", r"\boxed{x=1=42}"),
    ("42", r"\boxed{42"),
    ("42", r"\boxed{41, 42}"),
    ("42", r"\boxed{1+}"),
    ("42", r"\boxed{\frac{1}}"),
    ("42", r"\boxed{\left(}"),
    ("42", r"\boxed{1/0}"),
    ("42", "\\boxed{\0}"),
    ("42", "\\boxed{\ud800}"),
    ("42", r"\boxed{\begin{pmatrix}1\\2}"),
    ("(1, 2)", r"\boxed{(2, 1)}"),
]


@pytest.mark.parametrize("gold, text", RIGHT)
def test_what_is_equal_is_correct(gold, text):
    assert math_answer(gold, text).outcome == "correct"


@pytest.mark.parametrize("gold, text", WRONG)
def test_what_is_not_equal_or_cannot_be_read_is_wrong(gold, text):
    assert math_answer(gold, text).outcome == "wrong"


def test_a_gold_answer_that_cannot_be_read_gives_none():
    assert math_answer("", r"\boxed{42}").outcome == "none"


@pytest.mark.parametrize(
    "answer, fits",
    [
        ("1" * MOST_DIGITS, True),
        ("1" * (MOST_DIGITS + 1), False),
        ("{" * DEEPEST + "1" + "}" * DEEPEST, True),
        ("(" * (DEEPEST + 1) + "1" + ")" * (DEEPEST + 1), False),
        ("x+" * (LONGEST // 2), True),
        ("x+" * (LONGEST // 2) + "x", False),
        ("x = 1", True),
        ("x = y = 1", False),
    ],
)
def test_an_answer_over_the_caps_never_reaches_the_parser(answer, fits, monkeypatch):
    assert (over_caps(answer) == "") == fits
    if not fits:
        monkeypatch.setattr("forkpoint.verify.math_answer.verify", None)
        assert math_answer("42", f"{BOXED}{answer}}}").outcome == "wrong"


def test_running_out_of_memory_is_not_taken_for_an_answer_that_cannot_be_read(monkeypatch):
    def parse(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("forkpoint.verify.math_answer.parse", parse)
    with pytest.raises(MemoryError):
        math_answer("42", r"\boxed{42}")


@pytest.mark.parametrize(
    "text, found",
    [
        (r"\boxed{1}", "1"),
        (r"\boxed{\{1\}}", r"\{1\}"),
        (r"\boxed{\\}", r"\\"),
        (r"\boxed{1}\boxed{", None),
        (r"\boxed{a\boxed{b}}", "b"),
        ("", None),
    ],
)
def test_the_last_box_is_found(text, found):
    assert boxed(text) == found
