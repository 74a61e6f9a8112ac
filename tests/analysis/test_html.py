"""The report as one page: complete, valid, self-contained, and readable on a phone."""

from __future__ import annotations

import base64
import json
import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.claims.claims import load_claims
from analysis.claims.tables import verdicts_table
from analysis.io.rows import Results, load_study
from analysis.output.facts import costs_table, provenance_table
from analysis.output.html import page
from analysis.output.pages import main
from analysis.output.render import to_csv, to_html, to_markdown
from analysis.output.report import tables
from analysis.output.tables import Cell, Table, main_table
from analysis.plots.figures import drawings
from tests.support.studies import flat, full_study, make_study, write_study

VOID = {"meta", "link", "img", "br", "hr"}
PHONE = 390  # CSS pixels
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Tags in order, text, ids and every reference; complains about tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "table" and not any(t == "div" and a.get("class") == "scroll" for t, a in self.tags):
            self.faults.append("a table outside of a container that scrolls")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    folder = tmp_path_factory.mktemp("results")
    rows = [row for row in full_study(3) if row["dataset"] != "self:pendulum-medium"]
    first = write_study(folder / "toy", rows, run_cpu_seconds={"prioritized/self:pendulum-low/0": 12.34})
    second = write_study(folder / "second", flat("<b>&\"'", "self:pendulum-low", [1.0, 2.0]), machine="4 cores")
    return [load_study(first), load_study(second)]


@pytest.fixture(scope="module")
def text(studies: list[Results]) -> str:
    return page(studies)


def test_tags_are_nested_and_closed(text: str) -> None:
    parsed = Page(text)
    assert parsed.faults == []
    assert parsed.open == []
    assert text.startswith("<!DOCTYPE html>")
    assert [len(parsed.all(tag)) for tag in ("html", "head", "body", "title", "h1")] == [1] * 5
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for attributes in parsed.all("img"):
        assert attributes["alt"]


def test_the_parser_of_this_test_sees_broken_nesting() -> None:
    assert Page("<p><b>x</p></b>").faults
    assert Page("<div><p>x</p>").open == ["div"]
    assert Page("<table></table>").faults


def test_nothing_outside_of_the_file_is_referred_to(text: str) -> None:
    parsed = Page(text)
    for tag, attributes in parsed.tags:
        assert tag not in ("script", "iframe", "object", "embed")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                assert value.startswith(("data:", "#")), (tag, value[:80])
            assert "url(" not in value
    styles = re.findall(r"<style>(.*?)</style>", text, re.S)
    assert len(styles) == 1
    assert not re.search(r"url\(|@import|https?:", styles[0])
    targets = {attributes["href"][1:] for attributes in parsed.all("a")}
    assert targets == {attributes["id"] for _, attributes in parsed.tags if "id" in attributes}


def test_every_study_table_figure_claim_and_cost_is_there(text: str, studies: list[Results]) -> None:
    words = " ".join("".join(Page(text).words).split())
    for study in studies:
        assert f'<section id="{study.name}">' in text
        for fact in ("scale", "date", "git_commit", "command"):
            assert study.manifest[fact] in words
        assert "1800 s (0.50 h)" in words
        for table in tables(study):
            assert to_html(table) in text
    for claim in load_claims():
        assert claim.sentence in words
    assert "12.3" in words
    images = [attributes["src"] for attributes in Page(text).all("img")]
    captions = [caption for study in studies for _, _, caption in drawings(study)]
    assert len(images) == len(captions) > 3
    for image in images:
        content = base64.b64decode(image.removeprefix("data:image/png;base64,"), validate=True)
        assert content.startswith(b"\x89PNG")
        assert struct.unpack(">I", content[16:20])[0] > 300  # pixels wide
    for caption in captions:
        assert caption.replace("`", "") in words


def test_the_page_is_the_same_twice(studies: list[Results]) -> None:
    assert page(studies[1:]) == page(studies[1:])


def test_names_and_numbers_are_escaped(studies: list[Results], text: str) -> None:
    assert "<b>&" not in text
    assert "&lt;b&gt;&amp;&quot;&#x27;" in text
    table = main_table(studies[0])
    plain = " ".join(Page(to_html(table)).words)
    number = r"-?\d+\.\d"
    assert re.findall(number, plain.split("Normalised")[0]) == re.findall(number, to_markdown(table, caption=False))
    shown = to_html(Table("x", ("a",), ("b",), ((("r`c`",), (Cell((("p", "`d` & <"),), bold=True),)),), 0, "`e`"))
    assert '<th scope="row">r<code>c</code></th><td><strong><code>d</code> &amp; &lt;</strong></td>' in shown
    assert "<figcaption><code>e</code></figcaption>" in shown


def test_origin_and_cost_say_what_the_manifest_has(studies: list[Results]) -> None:
    bare = make_study(full_study(1), **dict.fromkeys(("scale", "date", "cpu_seconds", "git_commit", "command")))
    assert [heads[0] for heads, _ in provenance_table(bare).rows] == ["wall time"]
    facts = {heads[0]: cells[0].parts[0][1] for heads, cells in provenance_table(studies[1]).rows}
    assert facts["machine"] == "4 cores"
    packages = make_study(full_study(1), packages={"torch": "2", "numpy": "3"}, peak_memory_mb=7)
    facts = {heads[0]: cells[0].parts[0][1] for heads, cells in provenance_table(packages).rows}
    assert (facts["packages"], facts["peak memory"]) == ("torch 2, numpy 3", "7 MB")
    rows = {heads: cells for heads, cells in costs_table(studies[0]).rows}
    assert len(rows) == len(studies[0].owners)
    low = "self:pendulum-low"
    assert [c.parts[0][1] for c in rows["prioritized", low, "0", "online"]] == ["12.3", "1000", "2000"]
    assert [bool(c.parts) for c in rows["prioritized", low, "1", "online"]] == [False, True, True]
    assert [c.parts[0][1] for c in rows["mopo", low, "0", "offline"][1:]] == ["0", "3000"]


def test_the_command_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "results" / "toy", flat("uniform", "self:pendulum-low", [1.0, 2.0]))
    out = tmp_path / "new" / "report.html"
    assert main(["--results", str(tmp_path / "results"), "--out", str(out)]) == 0
    assert "toy" in out.read_text(encoding="utf-8")
    assert main(["absent", "--results", str(tmp_path / "results")]) == 2
    assert main(["--results", str(tmp_path / "results"), "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2
    assert err[1].startswith(f"error: --out: cannot write {tmp_path}")


def test_words_start_at_the_left_in_every_output() -> None:
    table = verdicts_table([make_study(full_study(2))])
    assert '<td class="words">' in to_html(table)
    assert to_markdown(table).splitlines()[1] == "| --- | --- | --- | --- |"
    assert "toy: holds on 2 of 2 tasks" in to_csv(table)


@pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on this machine")
def test_a_phone_scrolls_tables_not_the_page_and_the_console_is_silent(text: str, tmp_path: Path) -> None:
    """A frame of a phone's width: nothing is wider than it, but what scrolls inside its own container."""
    assert BROWSER is not None
    measure = """<script>
      addEventListener("load", () => {
        const inside = document.getElementById("phone").contentDocument, root = inside.documentElement;
        for (const one of inside.querySelectorAll("details")) one.open = true;
        const wide = [...inside.querySelectorAll("body *")].filter(
          (one) => !one.closest(".scroll") && one.getBoundingClientRect().right > root.clientWidth + 0.5);
        const scrolling = [...inside.querySelectorAll(".scroll")].filter((one) => one.scrollWidth > one.clientWidth);
        const images = [...inside.images].filter((one) => one.complete && one.naturalWidth > 0);
        document.body.dataset.found = JSON.stringify({
          width: root.clientWidth, content: root.scrollWidth, wide: wide.map((one) => one.tagName),
          scrolling: scrolling.length, images: images.length});
        console.log("measured");
      });</script>"""
    eager = text.replace(' loading="lazy"', "").replace("&", "&amp;").replace('"', "&quot;")
    frame = f'<iframe id="phone" width="{PHONE}" height="844" style="border: 0" srcdoc="{eager}"></iframe>'
    (tmp_path / "frame.html").write_text(f"<!DOCTYPE html><body>{frame}{measure}</body>", encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000", "--dump-dom"]
    done = subprocess.run(
        [*command, (tmp_path / "frame.html").as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    match = re.search(r'data-found="([^"]*)"', done.stdout)
    assert match is not None, done.stderr[-2000:]
    found = json.loads(match[1].replace("&quot;", '"'))
    assert found["width"] == found["content"] == PHONE
    assert found["wide"] == []
    assert found["scrolling"] > 0
    assert found["images"] == text.count("<img")
    logged = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert len(logged) == 1, logged  # the line of this test, so that a silent console is not a deaf one
    assert "measured" in logged[0]
