"""The report in a real browser, where there is one: it fits the screen, and what can be clicked works."""

import json
import re
import shutil
import subprocess
from html import unescape
from typing import Any

import pytest

from analysis.io.rows import load_study
from analysis.output.html import page
from tests.support.studies import full_study, write_study

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (1280, 390)
PROBE = """
const rendered = (one) => one.getClientRects().length > 0;
const found = {width: innerWidth, scroll: [], anchors: [], places: 0};
all("details").forEach((one) => { one.open = true; });
found.scroll.push(document.documentElement.scrollWidth);
for (const one of all("body *"))
  if (!one.closest("nav") && !one.parentElement.closest(".scroll, svg"))
    if (one.getBoundingClientRect().right > innerWidth + 1) found.scroll.push(one.outerHTML.slice(0, 200));

for (const link of all('a[href^="#"]')) {
  link.click();
  found.places += 1;
  const target = document.getElementById(decodeURIComponent(link.hash.slice(1)));
  const top = target?.getBoundingClientRect().top;
  const bottom = document.documentElement.scrollHeight - innerHeight - scrollY < 2;  // a short last section
  if (target === null || top < -1 || (top > 120 && !bottom)) found.anchors.push([link.hash, top]);
}

const study = document.getElementById("toy");
const table = study.querySelector("table");
const column = () => [...table.tBodies[0].rows].map((row) => row.cells[1].dataset.v);
found.before = column();
table.tHead.rows[0].cells[1].click();
found.down = column();
table.tHead.rows[0].cells[1].click();
found.up = column();

const button = study.querySelector('.toolbar button[data-m="uniform"]');
const marks = () => all("g[data-m]:not([data-seed]), tr[data-m]", study);
const one = (m) => marks().filter((mark) => mark.dataset.m === m && rendered(mark)).length;
const count = () => [one("uniform"), one("half_half")];
found.shown = count();
button.click();
found.hidden = count();
button.click();
found.again = count();

const filter = study.querySelector("input");
const rows = () => [...table.tBodies[0].rows].filter(rendered).map((row) => row.dataset.m);
filter.value = "PURE";
filter.dispatchEvent(new Event("input"));
found.filtered = rows();
filter.value = "";
filter.dispatchEvent(new Event("input"));
found.unfiltered = rows().length;

const figure = document.querySelector("#summary .curves");
const press = (one) => {
  one.scrollIntoView({block: "center", inline: "center"});
  const path = one.querySelector("path");
  const at = path.getPointAtLength(path.getTotalLength() * 0.97).matrixTransform(path.getScreenCTM());
  const hitting = {clientX: at.x, clientY: at.y, bubbles: true};
  document.elementFromPoint(at.x, at.y).dispatchEvent(new MouseEvent("click", hitting));
};
const seeds = () => all("[data-seed]", figure).filter(rendered).map((one) => one.dataset.m);
found.seeds = [seeds().length];
const mean = all('[data-m="pure_online"]:not([data-seed]):has(path[clip-path])', figure);
press(mean.at(-1));
found.seeds.push([...new Set(seeds())], seeds().length);
press(all("[data-seed].on", figure).at(-1));
found.marked = figure.querySelector("small").textContent;

const drawing = figure.querySelector("svg");
const look = () => [getComputedStyle(document.body).backgroundColor, getComputedStyle(drawing).filter];
found.light = look();
document.getElementById("theme").click();
found.dark = look();
parent.postMessage(JSON.stringify(found), "*");
"""

FRAME = """<pre id="result"></pre>
<script>
addEventListener("message", (event) => {{ document.getElementById("result").textContent = event.data; }});
</script>
<iframe src="report.html" style="width: {width}px; height: 900px; border: 0"></iframe>
"""  # a browser's window is never narrower than 500 pixels


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("browser")
    return page([load_study(write_study(folder / "results" / "toy", full_study()))], folder, folder)


@pytest.fixture(scope="module", params=WIDTHS)
def found(request: pytest.FixtureRequest, text: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a script inside the page saw and did, on a screen of this width."""
    if BROWSER is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    folder = tmp_path_factory.mktemp("page")
    (folder / "report.html").write_text(text.replace("</script>", f"{PROBE}</script>"), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=request.param), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", "--virtual-time-budget=9000"]
    command = [BROWSER, *flags, "--window-size=1400,1000", "--dump-dom", (folder / "frame.html").as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    result = re.search(r'<pre id="result">(.+?)</pre>', dumped, re.DOTALL)
    assert result, "the script of the page stopped with an error"
    seen: dict[str, Any] = json.loads(unescape(result[1]))
    assert seen["width"] == request.param
    return seen


def test_nothing_is_wider_than_the_screen(found: dict[str, Any]) -> None:
    width, *wider = found["scroll"]
    assert width <= found["width"]
    assert not wider


def test_every_anchor_leads_to_its_place(found: dict[str, Any]) -> None:
    assert found["places"] > 10
    assert not found["anchors"]


def test_a_head_sorts_by_number_both_ways(found: dict[str, Any]) -> None:
    values = sorted(map(float, found["before"]), reverse=True)
    assert list(map(float, found["down"])) == values != list(map(float, found["before"]))
    assert list(map(float, found["up"])) == values[::-1]


def test_a_button_hides_a_method_in_figures_and_tables_and_a_filter_rows(found: dict[str, Any]) -> None:
    uniform, other = found["shown"]
    assert min(uniform, other) > 10
    assert found["hidden"] == [0, other]
    assert found["again"] == found["shown"]
    assert found["filtered"] == ["pure_online"]
    assert found["unfiltered"] == len(found["before"])


def test_a_click_on_a_curve_shows_its_seeds_and_on_a_seed_which_it_is(found: dict[str, Any]) -> None:
    assert found["seeds"] == [0, ["pure_online"], 10]  # five seeds on two tasks
    assert re.search(r"seed \d", found["marked"])


def test_the_page_and_its_figures_turn_dark(found: dict[str, Any]) -> None:
    assert found["light"] == ["rgb(255, 255, 255)", "none"]
    assert found["dark"][0] != found["light"][0]
    assert "invert" in found["dark"][1]
