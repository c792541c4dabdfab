"""What gates leave on disk, without Spark: results, their index, and how the commands read them."""

from datetime import date
from html import escape

import pytest
from small_lake import embedding, publish

from expectations.data_docs import page_path, write_index
from expectations.results import Finding, GateResult, newest_results, result_path, save_result
from userbert.cli import main

NASTY = "<script>alert(1)</script> [bold]:x:[/] & ü"


def result(run="2026-01-05", passed=True, line=""):
    finding = Finding("rows", NASTY, passed, 3.0, 1, None, False, [{"user_id": NASTY}])
    checked_at = "2026-01-05T01:02:03.000"
    return GateResult(
        "titles", run, passed, line, 1234, 0.5, checked_at, "abc-dirty", {"rows": 3.0}, [finding]
    )


@pytest.fixture
def run(places, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    publish(places, [embedding("ann", date(2026, 1, 5), [1])])

    def run(*words):
        code = main(list(words))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_a_result_comes_back_as_it_was_saved(places):
    save_result(places.gates, result())
    assert list(newest_results(places.gates, "titles")) == [result()]


def test_the_index_leads_to_pages_and_holds_no_markup_of_others(places):
    save_result(
        places.gates, result(run=f"backfill/{NASTY}", passed=False, line=f"failed: {NASTY}")
    )
    save_result(places.gates, result())
    page = page_path(places.gates, "titles", "2026-01-05")
    page.parent.mkdir(parents=True)
    page.write_text("a page")
    assert write_index(places.gates) == []
    index = (places.gates / "docs" / "index.html").read_text()
    assert "<script" not in index
    assert f"<pre>failed: {escape(NASTY)}</pre>" in index
    assert '<a href="titles/2026-01-05.html">2026-01-05</a>' in index
    assert ">1,234<" in index
    assert index.count('class="failed"') == 1


def test_a_gates_list_prints_what_was_found_as_it_is(run, places):
    save_result(places.gates, result(run=NASTY))
    code, out, _ = run("gates", "list")
    assert code == 0
    assert NASTY in out
    save_result(places.gates, result(passed=False, line="gate titles failed: [b]1 of 2[/b]\nmore"))
    code, out, err = run("gates", "list")
    assert code == 3
    assert "gate titles failed: [b]1 of 2[/b]" in err


@pytest.mark.parametrize("content", ["", '{"table": "tit', "[]", "{}", '{"expectations": [{}]}'])
def test_a_damaged_result_is_one_line_that_says_what_to_remove(run, places, content):
    save_result(places.gates, result("whole"))
    path = save_result(places.gates, result("damaged"))
    path.write_text(content)
    for words in (("gates", "list"), ("summary",), ("gates", "docs")):
        code, _, err = run(*words)
        assert code == 2, words
        assert f"{path} is damaged" in err
        assert f"`rm {path}`" in err
        assert err.count("\n") == 1
    index = (places.gates / "docs" / "index.html").read_text()
    assert "whole" in index
    assert f"{escape(str(path))} is damaged" in index
    path.unlink()
    assert run("gates", "list")[0] == run("summary")[0] == run("gates", "docs")[0] == 0
    assert result_path(places.gates, "titles", "damaged") == path
