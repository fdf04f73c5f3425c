"""What holds for every probe, by being in the folder."""

import inspect
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from forkpoint import catalog
from forkpoint.probes import Crossed, Drawn, Reading, Samples, readings
from forkpoint.probes._samples import read, write

NAMES = catalog.names("probes")
every_probe = pytest.mark.parametrize("name", NAMES)
SIZE = 8
READS_VERDICTS = ("best_of_k", "clusters", "majority", "pass_at_k", "variance")
"""of the others a verdict changes nothing"""


def drawn(name: str, rng: np.random.Generator, size: int = SIZE) -> Drawn:
    """Completions of one problem: few answers, some missing, ragged tokens, every field filled."""
    answers = [None if pick == 3 else str(pick) for pick in rng.integers(0, 4, size)]
    lengths = rng.integers(1, 7, size)
    return Drawn(
        id=name,
        prompt=f"{name} is",
        texts=tuple(f"so {answer}" for answer in answers),
        answers=tuple(answers),
        verdicts=tuple("correct" if answer == "1" else "wrong" for answer in answers),
        logp=tuple((-lengths * rng.random(size)).tolist()),
        lengths=tuple(lengths.tolist()),
        entropy=tuple(rng.random(size).tolist()),
        tokens=tuple(tuple(rng.integers(0, 5, length).tolist()) for length in lengths),
        traits=tuple({"style": str(pick), "tries": 1.0} for pick in rng.integers(0, 3, size)),
    )


def samples(seed: int = 0, problems: int = 7) -> Samples:
    rng = np.random.default_rng(seed)
    ids = tuple(f"p{i}" for i in range(problems))
    table = tuple(map(tuple, (-3 * rng.random((problems, problems))).tolist()))
    return Samples(tuple(drawn(name, rng) for name in ids), Crossed(ids, table))


def reordered(one: Drawn, order: list[int]) -> Drawn:
    columns = {f.name: getattr(one, f.name) for f in fields(one)[2:]}
    return replace(one, **{name: tuple(column[i] for i in order) for name, column in columns.items() if column})


def found(name: str, of: Samples) -> Reading:
    reading = catalog.get("probes", name)(of)
    assert reading is not None
    return reading


def assert_same(left: Reading, right: Reading) -> None:
    assert left.values.keys() == right.values.keys()
    for name in left.values:
        assert left.values[name].value == pytest.approx(right.values[name].value, rel=1e-12, abs=1e-12, nan_ok=True), (
            name
        )


@every_probe
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_problems_never_matters(name: str, seed: int):
    one = samples()
    order = np.random.default_rng(seed).permutation(len(one.problems))
    shuffled = found(name, replace(one, problems=tuple(one.problems[i] for i in order)))
    straight = found(name, one)
    assert shuffled.values == straight.values, "to the last bit, intervals included"
    for key, numbers in straight.per_problem.items():
        np.testing.assert_array_equal(np.array(numbers)[order], shuffled.per_problem[key])


@every_probe
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_completions_never_matters(name: str, seed: int):
    one, rng = samples(), np.random.default_rng(seed)
    shuffled = [reordered(each, rng.permutation(SIZE).tolist()) for each in one.problems]
    assert_same(found(name, replace(one, problems=tuple(shuffled))), found(name, one))


@every_probe
def test_every_problem_twice_is_the_same_finding(name: str):
    one = samples()
    assert_same(found(name, replace(one, problems=one.problems * 2)), found(name, one))


@every_probe
@pytest.mark.parametrize("seed", range(5))
def test_an_interval_holds_its_value_and_is_finite(name: str, seed: int):
    for problems in (2, 7):
        for value in found(name, samples(seed, problems)).values.values():
            assert (value.low <= value.value <= value.high) or value.problems == 0
            assert 0 <= value.problems <= problems and value.unit


@every_probe
def test_the_same_samples_give_the_same_reading(name: str):
    # by their text, in which one nan is like another
    assert repr(found(name, samples())) == repr(found(name, samples()))


@every_probe
def test_samples_come_back_from_disk_as_they_were(name: str, tmp_path: Path):
    one = samples()
    write(one, tmp_path / "samples.jsonl")
    again = read(tmp_path / "samples.jsonl")
    assert again == one
    assert repr(found(name, again)) == repr(found(name, one))


@every_probe
def test_no_verdict_is_not_wrong(name: str):
    """Completions without a verdict change no number that reads verdicts; the others do not look at verdicts at all."""
    one = samples()
    if name in READS_VERDICTS:
        unjudged = replace(drawn("more", np.random.default_rng(9)), verdicts=("none",) * SIZE)
        told = {f.name for f in fields(Drawn)[2:] if getattr(unjudged, f.name) is not None}
        columns = told - {"embeddings"}
        longer = [
            replace(each, **{column: getattr(each, column) + getattr(unjudged, column) for column in columns})
            for each in one.problems
        ]
        reading = found(name, replace(one, problems=tuple(longer)))
        assert_same(reading, found(name, one))
        assert name == "clusters" or "56 of 112 completions got no verdict" in reading.note
    else:
        silent = replace(one, problems=tuple(replace(each, verdicts=("none",) * SIZE) for each in one.problems))
        assert found(name, silent) == found(name, one)


@every_probe
def test_without_any_verdict_there_is_no_number_and_no_crash(name: str):
    one = samples()
    reading = found(name, replace(one, problems=tuple(replace(p, verdicts=("none",) * SIZE) for p in one.problems)))
    if name in READS_VERDICTS:
        assert all(math.isnan(value.value) and value.problems == 0 for value in reading.values.values())


@every_probe
def test_bare_samples_are_enough(name: str):
    """What a model's samples may lack is not needed; a probe that cannot do without says so by None."""
    bare = [replace(one, entropy=None, tokens=None, traits=None) for one in samples().problems]
    reading = catalog.get("probes", name)(Samples(tuple(bare)))
    assert (reading is None) == (name == "mutual_information")


@every_probe
def test_every_setting_has_a_default(name: str):
    first, *settings = inspect.signature(catalog.get("probes", name)).parameters.values()
    assert first.annotation is Samples
    assert all(each.kind is each.KEYWORD_ONLY and each.default is not each.empty for each in settings)


@every_probe
def test_a_reading_has_a_number_for_each_problem(name: str):
    reading = found(name, samples())
    assert reading.per_problem and set(reading.per_problem) <= set(reading.values)
    assert all(len(numbers) == 7 for numbers in reading.per_problem.values())


def test_no_name_stands_for_two_numbers():
    names = [value for reading in readings(samples()).values() for value in reading.values]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Samples(()), "samples: there is no problem"),
        (lambda: Samples((drawn("p", np.random.default_rng(0), 0),)), "problem 'p' has no completion"),
        (lambda: replace(samples().problems[0], logp=(0.0,)), "problem 'p0' has 1 logp for 8 texts; give one for each"),
        (lambda: replace(samples().problems[0], verdicts=("right",) * 8), "verdict 'right'; say correct"),
        (lambda: Crossed(("a", "b"), ((0.0,), (0.0,))), "crossed log-probs of 2 problems are not square"),
        (lambda: catalog.get("probes", "pass_at_k")(samples(), ks=[9]), "choose k from 1 to 8"),
        (lambda: catalog.get("probes", "majority")(samples(), ks=[0]), "majority: k = 0"),
        (lambda: readings(samples(), scorer="better"), "scorer 'better': name a function of yours as module:function"),
        (lambda: readings(samples(), scorer="math:nothing"), "scorer 'math:nothing': module 'math' has no attribute"),
        (lambda: readings(samples(), scorer="no_such:one"), "scorer 'no_such:one': No module named 'no_such'"),
        (lambda: readings(samples(), scorer="math:pi"), "scorer 'math:pi': is a float"),
        (lambda: readings(samples(), scorer=lambda prompt, text: None), "scorer: returned None for problem 'p0'"),
        (lambda: readings(samples(), kernel=lambda a, b: 0.5), "kernel: on the completions of problem 'p0'"),
        (lambda: readings(samples(), judge="math:fsum"), "no probe takes 'judge'"),
        (lambda: read(Path("nowhere.jsonl")), "nowhere.jsonl: no such file; forkpoint probe writes it"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(call, says: str):
    with pytest.raises(ValueError) as caught:
        call()
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_line_is_named(tmp_path: Path):
    path = tmp_path / "samples.jsonl"
    write(samples(), path)
    lines = path.read_text().split("\n")
    for damage in ("", "{", "[]", "{}", lines[1][:-9], lines[1].replace("logp", "lodp"), "null", "{'problem': 3}"):
        path.write_text("\n".join([lines[0], damage, *lines[2:]]))
        with pytest.raises(ValueError, match=r"samples.jsonl: line 2: (has no|checksum) .*; restore") as caught:
            read(path)
        assert "\n" not in str(caught.value)
