"""What a file declares is read from its source; nothing in it runs."""

import pytest

from forkpoint.signatures import declared, read, shares

SOURCE = '''
"""Shrinks the step where it matters (Someone, arXiv:2501.00001, section 4), as in arXiv:2501.00002.

Compare arXiv:2501.00003.
"""
raise SystemExit("this file was imported")

LOW = 0.1

def other(x=1):
    return Method(needs_off_policy=False)

@method
def shrink(first, second=LOW * 2, *, third=(1, -2.5), fourth):
    """Help."""
    inner = chain(clip(low=1))
    return Method((rule(second),), inner, reads=("entropy",), needs_off_policy=True, credit=inner)
'''


def test_the_signature_is_read_with_literal_defaults_as_values_and_others_as_text():
    assert read(SOURCE, "shrink").settings == {"second": "LOW * 2", "third": (1, -2.5)}


def test_flags_are_the_literal_keywords_of_the_call_that_builds_the_result():
    assert read(SOURCE, "shrink").flags == {"reads": ("entropy",), "needs_off_policy": True}
    assert read(SOURCE, "shrink", builds="clip").flags == {"low": 1}


def test_the_source_is_named_in_the_first_line_and_left_out_of_the_summary():
    found = read(SOURCE, "shrink")
    assert found.sources == ("2501.00001", "2501.00002")
    assert found.summary == "Shrinks the step where it matters, as in arXiv:2501.00002."


def test_a_file_without_its_function_is_an_error():
    with pytest.raises(ValueError, match=r"shrnk\.py defines no function 'shrnk'"):
        read(SOURCE, "shrnk")


def test_an_unknown_member_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'grpo'"):
        declared("methods", "grop")


PARTS = '''
"""Two rules."""
from forkpoint.batch import Plan
from forkpoint.controllers.pi import pi
from forkpoint.credit import At
from forkpoint.credit.late import late
from forkpoint.credit.soon import Word, soon
from forkpoint.credit._select import top
from forkpoint.objectives.clip import clip

def two(*, share=0.1, mode="a", high=0.2, off=False):
    second, plain = late(part=share, top=high), mode == "a"
    first = soon(share=share)
    return Method((first, second), clip(low=0.1, high=high), rewards=(0.0, 1.0) if off else (),
                  reads=("entropy",) if plain else ("label",), needs_off_policy=not off, reduction=mode)
'''


def test_the_parts_of_a_method_are_the_members_it_imports_in_the_order_they_run():
    assert read(PARTS, "two").uses == {"controllers": ("pi",), "credit": ("soon", "late"), "objectives": ("clip",)}


def test_which_setting_goes_where_is_read_from_the_calls():
    passes = {("soon", "share"): "share", ("late", "part"): "share", ("late", "top"): "high", ("clip", "high"): "high"}
    assert read(PARTS, "two").passes == passes


def test_flags_that_a_setting_decides_are_those_of_its_default():
    found = read(PARTS, "two")
    assert found.reads == ("entropy",) and found.flags["needs_off_policy"] is True and found.flags["rewards"] == ()
    assert found.reduction is None and "reduction" not in found.flags, "what is no literal is not guessed"
    other = read(PARTS.replace('mode="a"', 'mode="b"').replace("off=False", "off=True"), "two")
    assert other.reads == ("label",) and other.flags["needs_off_policy"] is False
    assert other.flags["rewards"] == (0.0, 1.0)


def test_shares_of_a_rule_are_what_it_checks_as_one():
    assert shares("credit", "clip_covariance") == {"share": 0.0} and shares("credit", "entropy_shaping") == {}
