"""The page in Chromium: drawn without errors, silent on the network, inert, and usable on a phone and by keyboard."""

import os
import shutil
from collections.abc import Iterator

import pytest
from plotly.offline import get_plotlyjs

from forkpoint.report.page import page
from tests.report.test_page import HOSTILE
from tests.report.test_page import hostile as hostile  # a fixture

pytestmark = pytest.mark.browser
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
FOCUSED = "document.activeElement.getAttribute('aria-label')"
WIDTH = "document.documentElement.scrollWidth"
VIOLATIONS = "addEventListener('securitypolicyviolation', event => console.error('CSP', event.violatedDirective))"
POOR = """() => {
const light = color => {
  const [r, g, b] = color.match(/[0-9.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = element => {
  for (let at = element; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if (!/, 0\\)$/.test(color)) return color;
  }
  return 'rgb(255, 255, 255)';
};
const poor = [];
for (const element of document.querySelectorAll('p, dt, dd, summary, a, h1, h2, h3, th, td, .t, .verdict')) {
  const [low, high] = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => a - b);
  const ratio = (high + 0.05) / (low + 0.05);
  if (ratio < 4.5) poor.push(`${element.className || element.tagName}: ${ratio.toFixed(2)}`);
}
return [...new Set(poor)];
}"""
"""what has less than WCAG's 4.5 of contrast with what is behind it: text, captions, links, every token shade"""


def need(found: object, what: str) -> None:
    """Skips with the reason, or fails where a browser is required."""
    if not found:
        (pytest.fail if os.environ.get("FORKPOINT_REQUIRE_BROWSER") == "1" else pytest.skip)(f"{what} is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    need(path, "Chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        need(None, "playwright")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def load(browser, tmp_path):
    """Loads a page and checks when the test is over that it stayed silent."""
    complaints: list[str] = []
    contexts = []

    def load(text: str, **context):
        address = (tmp_path / "page.html").as_uri()
        (tmp_path / "page.html").write_text(text, encoding="utf-8")
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | context))
        tab = contexts[-1].new_page()
        tab.add_init_script(VIOLATIONS)
        tab.on(
            "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
        )
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        tab.on("request", lambda request: complaints.append(request.url) if request.url != address else None)
        tab.goto(address)
        return tab

    yield load
    for context in contexts:
        context.close()
    assert complaints == [], complaints


@pytest.fixture(scope="module")
def text(two_runs):
    return page(two_runs)


def test_every_figure_is_drawn_in_the_colors_of_the_scheme_and_paper_is_light(load, text):
    tab = load(text, color_scheme="light")
    empty = "all => all.filter(plot => !plot.querySelector('.scatterlayer path')).map(plot => plot.id)"
    assert tab.eval_on_selector_all(".plot", empty) == []
    assert tab.locator(".plot").count() == 16
    drawn = "document.querySelector('.plot').data[0].line.color"
    light, dark = "#c2501b", "#f2955f"
    assert (tab.evaluate(drawn), tab.evaluate(POOR)) == (light, [])
    tab.emulate_media(color_scheme="dark")
    tab.locator(".plot path.js-line[style*='rgb(242, 149, 95)']").first.wait_for(state="attached")
    assert (tab.evaluate(drawn), tab.evaluate(POOR)) == (dark, [])
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(drawn) == light
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(drawn) == dark


def test_hostile_text_stays_text(load, two_runs, hostile):
    tab = load(page([two_runs[0], hostile], title=HOSTILE[1]))
    for token in tab.locator(".rollout .t").all()[:5]:
        token.hover()
    tab.locator(".plot").first.hover()
    assert tab.evaluate("window.canary") is None
    assert tab.locator("h1").inner_text() == HOSTILE[1]
    assert HOSTILE[0] in tab.locator(".rollout[data-arm='1'] .strip").first.inner_text()
    tags = "document.querySelectorAll('main img, main iframe, main a, main form:not(#filters)').length"
    assert tab.evaluate(tags) == 0
    tab.set_viewport_size({"width": 390, "height": 844})
    assert tab.evaluate(WIDTH) <= 390


def test_a_script_that_is_not_ours_does_not_run(browser, tmp_path, text):
    """The policy itself, with the escaping taken away: what would get in is stopped and reported."""
    text = text.replace(get_plotlyjs(), "")
    (tmp_path / "page.html").write_text(
        text.replace("<main", "<script>window.canary = 1</script><main", 1), encoding="utf-8"
    )
    with browser.new_context() as context:
        tab = context.new_page()
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.goto((tmp_path / "page.html").as_uri())
        assert tab.evaluate("window.canary") is None
        assert any("Content Security Policy" in line for line in said)


def test_keys_skip_to_the_content_walk_a_strip_and_leave_it(load, text):
    tab = load(text)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to content"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "content"
    tokens = tab.locator(".strip").first.locator("[role=option]")
    labels = [token.get_attribute("aria-label") for token in tokens.all()]
    tokens.first.focus()
    for key, expected in (
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("End", -1),
        ("ArrowRight", -1),
        ("Home", 0),
    ):
        tab.keyboard.press(key)
        assert tab.evaluate(FOCUSED) == labels[expected], key
    readout = tab.locator(".readout").first
    assert readout.inner_text() == labels[0]
    tab.keyboard.press("Escape")
    assert not readout.is_visible()
    tab.keyboard.press("ArrowRight")
    assert tab.locator(".strip").first.locator("[tabindex='0']").count() == 1
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('.rollout') === document.querySelectorAll('.rollout')[1]")


def test_on_a_phone_a_tap_shows_the_readings_and_filters_choose_rollouts(load, text):
    tab = load(text, viewport={"width": 390, "height": 844}, has_touch=True)
    token = tab.locator(".strip").first.locator("[role=option]").nth(9)
    token.tap()
    readout = tab.locator(".readout").first
    assert readout.inner_text() == token.get_attribute("aria-label")
    box = readout.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    tab.locator("#filters").get_by_label("wrong").check()
    assert tab.locator("#shown").inner_text() == "8 of 20 shown"
    tab.locator("#filters").get_by_label("fork thermostat").check()
    assert tab.locator("#shown").inner_text() == "4 of 20 shown"
    verdicts = tab.eval_on_selector_all(".rollout:not([hidden])", "all => all.map(one => one.dataset.verdict)")
    assert verdicts == ["wrong"] * 4


def test_the_page_never_scrolls_sideways(load, text):
    tab = load(text)
    tab.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true })")
    for width in (1280, 768, 390, 320):
        tab.set_viewport_size({"width": width, "height": 800})
        assert tab.evaluate(WIDTH) <= width


def test_numbers_can_be_read_without_the_figures(load, text):
    tab = load(text, java_script_enabled=False)
    assert tab.locator("#learning table").inner_text(timeout=2000) is not None
    assert tab.locator("noscript").count() == 1
