"""`userbert report`: one page of a run that needs no network, and what it says."""

import json
import shutil
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from small_lake import write
from small_model import save
from small_report import AS_OF, DAY, HOSTILE, MODEL, USERS, gate_result, views_of, write_root

from contracts.paths import Places
from contracts.tables import TABLES
from expectations.results import save_result
from spark_jobs.registry.privacy_lines import privacy_file
from userbert.cli import main
from userbert.report.differences import list_differences


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    places = Places(tmp_path_factory.mktemp("report"))
    write_root(places)
    return places


@pytest.fixture
def root(source, tmp_path, monkeypatch):
    """A data root of its own for each test."""
    shutil.copytree(source.root, tmp_path / "root")
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path / "root"))
    return Places(tmp_path / "root")


def facts_of(places, name=f"night/{AS_OF}"):
    return json.loads((places.reports / f"{name}.json").read_text())


class Document(HTMLParser):
    """The parts of a page that a browser would act on."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.addresses, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [v for name, v in attributes if name in ("src", "href", "xlink:href")]

    def handle_data(self, text):
        self.text += text


def test_a_page_is_whole_without_a_network_and_data_is_text(root, capsys):
    assert main(["report"]) == 0
    assert f"report: {root.reports}/night/{AS_OF}.html" in capsys.readouterr().out
    page = Document((root.reports / "night" / f"{AS_OF}.html").read_text())
    assert "script" not in {tag for tag, _ in page.tags}
    assert [a for a in page.addresses if ":" in a and not a.startswith("data:")] == []
    assert len(page.ids) == len(set(page.ids))
    assert HOSTILE in page.text  # as it was written, and no markup
    assert "a/<b>.jsonl" in page.text
    for part in ("What came in", "Refused lines", "Gates", "What was written", "Differences"):
        assert part in page.text
    pictures = [found for tag, found in page.tags if tag == "svg"]
    assert len(pictures) >= 5
    assert all(found["role"] == "img" for found in pictures)


def test_links_of_a_page_lead_to_files_that_are_there(root):
    assert main(["report", "--as-of", str(AS_OF - timedelta(days=1))]) == 0
    assert main(["report"]) == 0
    for folder, name in ((root.reports, "index"), (root.reports / "night", str(AS_OF))):
        page = Document((folder / f"{name}.html").read_text())
        links = [a for a in page.addresses if not a.startswith(("#", "data:"))]
        assert [a for a in links if not (folder / a).exists() and "gates/docs" not in a] == []
        anchors = {a[1:] for a in page.addresses if a.startswith("#")}
        assert anchors <= set(page.ids)


def test_a_usual_night_is_good_and_its_facts_are_those_of_the_tables(root):
    assert main(["report"]) == 0
    facts = facts_of(root)
    assert facts["verdict"]["level"] == "good", facts["verdict"]
    assert facts["verdict"]["sentence"].startswith(f"Good: 30 users are published as of {AS_OF}")
    assert "energy distance between the days" in facts["vectors"]["movement"]["drift_verdict"]
    views, users, titles, refused = facts["arrivals"]["comparisons"]
    assert (views["value"], views["usual"]) == (90, 90)
    assert (users["value"], titles["value"], refused["value"]) == (30, 3, 1)
    today = facts["arrivals"]["days"][-1]
    assert (today["hours"][8], today["hours"][20], sum(today["hours"])) == (30, 30, 90)
    assert {r["reason"]: r["lines"] for r in facts["refusals"]} == {
        "blank title": 1,
        "<i>odd</i>": 1,
    }
    assert facts["coverage"]["active"] == facts["coverage"]["published"] == 30
    assert facts["run"] == f"nightly/{AS_OF}"
    assert facts["commits"][-1]["inputs"] == {"models": 0}


def test_a_lake_that_never_refused_a_line_has_its_report(root):
    """Its table of refused lines was made, and has no data file."""
    shutil.rmtree(root.root / "lake/rejected_logs")
    write(root, "rejected_logs", [])
    assert main(["report"]) == 0
    refused = facts_of(root)["arrivals"]["comparisons"][-1]
    assert (refused["name"], refused["value"]) == ("refused lines", 0)


def test_vectors_are_described_by_spread_and_by_how_far_they_moved(root):
    assert main(["report"]) == 0
    vectors = facts_of(root)["vectors"]
    assert (vectors["model_id"], vectors["users"]) == (MODEL, 30)
    assert 6 < vectors["effective_rank"] <= 8  # eight random directions
    moved = vectors["movement"]
    assert moved["users_in_both"] == 30
    assert moved["alignment"] == pytest.approx(2, abs=0.6)  # drawn anew, so at right angles
    assert sum(moved["distances"]["counts"]) == 30
    assert moved["drift"]["p"] > 0.01  # both nights are draws of one distribution


def test_a_tenth_of_the_usual_day_is_worth_a_look(root):
    day = DAY + timedelta(days=1)
    write(root, "browsing_logs", views_of(day, USERS[:3]))
    assert main(["report", "--as-of", str(day + timedelta(days=1))]) == 0
    verdict = facts_of(root, f"night/{day + timedelta(days=1)}")["verdict"]
    assert verdict["level"] == "look"
    assert "There are 9 views, 0.1 times the usual 90 of this weekday." in verdict["remarks"]
    assert any("Nothing is published" in remark for remark in verdict["remarks"])


def test_a_refused_day_is_stopped_and_shows_the_gates_own_line(root, capsys):
    line = "the gate refused 2026-03-01: <b>40 %</b> of the lines are broken"
    bad = gate_result("browsing_logs", str(DAY), passed=False, observed=0.4, line=line)
    save_result(root.gates, bad)
    assert main(["report"]) == 0
    page = (root.reports / "night" / f"{AS_OF}.html").read_text()
    assert "<code>userbert explain-error UB-401</code>. Find the gate" in page
    assert capsys.readouterr().out.startswith("Stopped: the gate of browsing_logs refused")
    assert facts_of(root)["verdict"]["remarks"][0] == line
    assert line in Document((root.reports / "night" / f"{AS_OF}.html").read_text()).text


def test_a_day_that_is_ingested_again_is_counted_again(root):
    assert main(["report"]) == 0
    kept = root.reports / "days" / f"{DAY}.json"
    before = kept.read_text()
    write(root, "browsing_logs", views_of(DAY, ["late user"]))
    assert main(["report"]) == 0
    assert facts_of(root)["arrivals"]["days"][-1]["users"] == 31
    kept.write_text(before[:40])  # cut off
    assert main(["report"]) == 0
    assert facts_of(root)["arrivals"]["days"][-1]["users"] == 31


def test_it_names_what_differs_from_the_night_before(root):
    assert main(["report", "--as-of", str(AS_OF - timedelta(days=1))]) == 0
    assert main(["report"]) == 0
    facts = facts_of(root)
    assert facts["earlier"] == str(AS_OF - timedelta(days=1))
    assert "vectors: norm median" in {each["what"] for each in facts["differences"]}
    assert [night["as_of"] for night in facts["nights"]] == [facts["earlier"], str(AS_OF)]
    assert list_differences(facts, facts) == []


def test_other_runs_have_pages_of_their_own(root):
    days = ["--from", str(DAY - timedelta(days=6)), "--to", str(DAY)]
    assert main(["report", "--of", "history", *days]) == 0
    assert main(["report", "--of", "backfill", *days, "--model", MODEL]) == 0
    names = {str(path.relative_to(root.reports)) for path in root.reports.glob("*/*.html")}
    assert names == {f"history/{days[1]}_{days[3]}.html", f"backfill/{days[1]}_{days[3]}_m1.html"}
    assert facts_of(root, f"history/{days[1]}_{days[3]}")["vectors"] is None


def test_whoever_names_no_run_is_corrected_in_a_line(root, tmp_path, monkeypatch, capsys):
    assert main(["report", "--of", "history"]) == 2
    assert "a history is named by its days: --from DAY --to DAY" in capsys.readouterr().err
    assert main(["report", "--from", str(DAY)]) == 2
    assert main(["report", "--of", "training", "--model", "../../etc"]) == 4
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path / "nowhere"))
    assert main(["report"]) == 4
    assert "no night has run" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


def test_summary_names_the_newest_report(root, capsys):
    assert main(["report"]) == 0
    capsys.readouterr()
    assert main(["summary"]) == 0
    assert f"report of the newest run: {root.reports}/night/{AS_OF}.html" in capsys.readouterr().out


def test_every_table_of_a_report_is_a_table_of_the_contracts():
    from userbert.report.subject import KIND_NAMES, Subject

    for kind in KIND_NAMES:
        subject = Subject(kind, DAY, DAY)
        assert set(subject.tables) <= set(TABLES)
        assert subject.tables


def test_the_page_of_a_training_has_the_models_privacy_card(root):
    save(root, MODEL)
    measured = {
        "half_days": 90,
        "reidentified": [
            {"group": group, "candidates": 200, "vectors": "model", "compared_by": "cosine",
             "top_1": {"value": value, "low": 0.1, "high": 0.3}}
            for group, value in (("held out", 0.21), ("trained on", 0.99))
        ],
        "membership": [],
        "leaks": [],
    }  # fmt: skip
    path = privacy_file(root, MODEL)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(measured))
    assert main(["report", "--of", "training", "--model", MODEL]) == 0
    (page,) = (root.reports / "training").glob("*.html")
    text = Document(page.read_text()).text
    assert "What its vectors give away" in text
    assert "0.210 [0.100, 0.300]" in text
    assert "0.990" not in text
