"""What a file declares is read from its source; nothing in it runs."""

import pytest

from forkpoint.signatures import declared, read

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
