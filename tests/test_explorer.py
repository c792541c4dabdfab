"""The explorer in a real browser, each control used; and what it refuses, without one."""

import base64
import csv
import http.client
import itertools
import json
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from headless_browser import Browser
from page_checks import LOW_CONTRAST, OVERFLOW
from small_explorer import BEFORE, DAY, HOSTILE, USERS, write_root

from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from explorer.commands import make_app
from explorer.csv_export import csv_text
from explorer.day_reader import DayReader
from explorer.figures import map_figure, point_size
from explorer.guarded_server import Door, bind_server
from explorer.view import View
from explorer.view_state import Selection, ViewState, inside_polygon
from userbert.cli import main

LEFT_HALF = "-9,-9;-9,9;0,9;0,-9"
READY = "document.querySelector('#cohort-panel p') && document.querySelector('#user-panel p')"
DRAWN = f"{READY} && document.querySelector('#map .main-svg')"
FITTED = """[...document.querySelectorAll('.maps canvas, .maps .main-svg')].every(
    (e) => e.getBoundingClientRect().width <= e.closest('figure').clientWidth)"""
MAP = "document.querySelector('#map .js-plotly-plot')"
TEXT = "document.querySelector('{}').textContent"
# Chromium says these of drawing without a graphics card.
DRIVER = ("WebGL", "GL Driver", "GPU stall", "Canvas2D")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    places = Places(tmp_path_factory.mktemp("explorer"))
    write_root(places)
    return places


@pytest.fixture(scope="module")
def reader(places):
    return DayReader(places)


@pytest.fixture(scope="module")
def address(reader):
    """The page, served in a thread."""
    door = Door()
    server = bind_server(make_app(reader, door).server, 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield door.address(server.port)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The folder of the screenshots, explorer-pictures below pytest's --basetemp."""
    return tmp_path_factory.mktemp("explorer-pictures")


def messages(browser):
    """What the page complained of."""
    texts = [json.dumps(entry) for entry in browser.console]
    return [text for text in texts if not any(word in text for word in DRIVER)]


def says(browser, selector, text):
    browser.wait_for(f"{TEXT.format(selector)}.includes({json.dumps(text)})")


def pick(browser, control, label):
    """An entry of a dropdown."""
    browser.click(f"#{control}")
    options = "[...document.querySelectorAll('.dash-dropdown-content [role=option]')]"
    find = f"{options}.find((e) => e.textContent.trim() === {json.dumps(label)})"
    browser.wait_for(find)
    browser.value(f"{find}.click()")
    browser.wait_for(f"document.querySelector('#{control}').textContent === {json.dumps(label)}")


def shown_state(browser):
    return {k: v[-1] for k, v in parse_qs(browser.value("location.search.slice(1)")).items()}


def test_the_page_answers_with_each_of_its_controls(browser, address, pictures, tmp_path):
    browser.console.clear()
    browser.requests.clear()
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.open(address, 1280, "light")
    browser.wait_for(DRAWN)
    says(browser, "#map-caption", f"82 users of m1 as of {DAY}")
    says(browser, "#map-caption", "Green Tea")

    browser.type("#user-search", "user 0")
    browser.press("Enter")
    says(browser, "#notice", "no user user 0 has a vector as of 2026-01-06; ids that begin so: us")
    browser.type("#user-search", "user 01")
    browser.click("#user-button")
    says(browser, "#user-panel", "Nearest of 82 users, and why")
    says(browser, "#user-panel", "Green Tea (")  # in common, as it was written, with its weight
    browser.wait_for("!document.querySelector('#notice').innerText")
    says(browser, "#map-caption", "the way of the user over 2 days")
    browser.click("#explain-button")
    says(browser, "#explanation", "2 views made the vector")
    browser.click("#coverage-button")
    says(browser, "#coverage-panel", "User user 01: embedded on the day")

    point_at(browser, "user 02")
    says(browser, "#map-tooltip", "user user 02: 1 views in 28 days")
    point_at(browser, "<b>bold</b>", is_clicked=True)
    says(browser, "#user-panel", "User <b>bold</b> viewed lately")  # an id is text
    browser.wait_for("location.search.includes('user=%3Cb%3Ebold')")
    browser.type("#user-search", "user 01")
    browser.press("Enter")
    says(browser, "#user-panel", "User user 01 viewed lately")

    browser.value("document.querySelector('#maps').scrollIntoView()")
    box = browser.value("document.querySelector('#map .nsewdrag').getBoundingClientRect().toJSON()")
    left, top, middle = box["x"] + 2, box["y"] + 2, box["x"] + box["width"] / 2
    bottom = box["y"] + box["height"] - 4
    corners = [(left, top), (left, bottom), (middle, bottom), (middle, top), (left, top)]
    browser.drag([c for a, b in itertools.pairwise(corners) for c in between(a, b)])
    says(browser, "#cohort-panel", "41 users. Mean cosine to their center")
    says(browser, "#cohort-panel", HOSTILE)  # a title is text
    assert browser.value("document.title") == "Users"
    browser.wait_for("location.search.includes('lasso=')")
    assert shown_state(browser)["lasso"].count(";") > 3
    browser.screenshot(pictures / "cohort.png")
    browser.click("#export-button")
    file = tmp_path / f"users-{DAY}.csv"
    wait_for_file(file)
    users = [row["user_id"] for row in csv.DictReader(file.open(newline=""))]
    assert sorted(users) == sorted(["'=1+1", *USERS[0:80:2]])

    browser.click("#clear-button")
    says(browser, "#cohort-panel", "Nobody is chosen")
    browser.click("#map [data-val=drawrect]")
    browser.value("document.querySelector('#maps').scrollIntoView()")
    browser.drag(between((left, top), (middle, bottom)))
    says(browser, "#cohort-panel", "41 users. Mean cosine to their center")
    browser.wait_for("document.querySelectorAll('#map .shapelayer path').length === 1")
    browser.click("#map [data-val=zoom]")
    browser.value("document.querySelector('#maps').scrollIntoView()")
    browser.drag(between((middle, top), (left + 40, bottom)))
    browser.wait_for(f"{MAP}._fullLayout.xaxis.autorange === false")
    browser.click("#map [data-attr=zoom][data-val=reset]")
    browser.wait_for(f"{MAP}._fullLayout.xaxis.range[1] > 0")

    browser.click("#clear-button")
    says(browser, "#cohort-panel", "Nobody is chosen")
    browser.type("#sql", "SELECT user_id FROM browsing_logs WHERE user_id < 'user 05'")
    browser.click("#sql-button")
    says(browser, "#cohort-panel", "7 users.")
    browser.type("#sql", "COPY titles TO 'x.csv'")
    browser.click("#sql-button")
    says(browser, "#notice", "this is no SELECT")

    pick(browser, "color", "views in 28 days")
    says(browser, "#map .infolayer", "views in 28 days")
    pick(browser, "color", "label side")
    says(browser, "#map-caption", "right")
    browser.click("#clear-button")
    pick(browser, "other", "m2 (candidate)")
    says(browser, "#comparison", "two spaces: places and distances on one map mean nothing")
    says(browser, "#comparison", "Users keep 100% of their 10 nearest")
    says(browser, "#comparison", "Of user user 01's 10 nearest, 10 are the same")
    browser.wait_for(FITTED)
    browser.screenshot(pictures / "two-models.png")
    pick(browser, "other", "m3 (candidate)")
    says(browser, "#comparison", "Both models live in space-m1")
    pick(browser, "day", str(BEFORE))
    says(browser, "#map-caption", f"as of {BEFORE}")
    pick(browser, "model", "m2 (candidate)")
    says(browser, "#map-caption", f"82 users of m2 as of {DAY}")  # it has no other day
    assert messages(browser) == []
    outside = [url for url in browser.requests if not url.startswith((address, "data:", "blob:"))]
    assert outside == []


def between(a, b, steps=4):
    return [(a[0] + (b[0] - a[0]) * n / steps, a[1] + (b[1] - a[1]) * n / steps) for n in range(5)]


def point_at(browser, user, is_clicked=False):
    """With the mouse, at the point of a user on the first map."""
    row = sorted(USERS).index(user)
    browser.value("document.querySelector('#maps').scrollIntoView()")
    x, y = browser.value(f"""(() => {{
      const chart = document.querySelector('#map .js-plotly-plot'), layout = chart._fullLayout;
      const box = chart.querySelector('.nsewdrag').getBoundingClientRect();
      for (const trace of chart._fullData.filter((t) => t.visible && t.customdata)) {{
        const n = [...trace.customdata].indexOf({row});
        const right = layout.xaxis.d2p(trace.x[n]), down = layout.yaxis.d2p(trace.y[n]);
        if (n >= 0) return [box.x + right, box.y + down];
      }}
    }})()""")
    for step in (3, 1, 0):  # a mouse that comes from elsewhere
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + step, y=y)
        time.sleep(0.1)
    says(browser, "#map-tooltip", f"user {user}: ")
    if is_clicked:
        browser.drag([(x, y)])


def wait_for_file(path, seconds=20):
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)


def test_a_view_is_shared_by_its_address_and_readable_in_both_widths_and_schemes(
    browser, address, pictures
):
    browser.console.clear()
    query = f"?day={BEFORE}&color=activity&user=user+02&lasso={LEFT_HALF}&other=m3"
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            browser.open(f"{address}{query}", width, scheme)
            browser.wait_for(DRAWN)
            says(browser, "#cohort-panel", "41 users.")
            says(browser, "#user-panel", "User user 02 viewed lately")
            says(browser, "#map-caption", f"as of {BEFORE}")
            assert browser.value("document.querySelector('#user-search').value") == "user 02"
            browser.wait_for(f"{OVERFLOW} <= 0")
            assert browser.value(LOW_CONTRAST) == [], (width, scheme)
            browser.screenshot(pictures / f"view-{width}-{scheme}.png")
    assert shown_state(browser)["color"] == "activity"
    assert messages(browser) == []


def test_an_address_that_the_lake_cannot_answer_opens_the_newest_day_and_says_why(browser, address):
    browser.open(f"{address}?day=2020-01-01&user=nobody", 1280, "light")
    browser.wait_for(DRAWN)
    says(browser, "#map-caption", f"as of {DAY}")
    says(browser, "#address-notice", "no vector of 2020-01-01 or earlier")


def test_the_page_is_used_by_keyboard(browser, address):
    browser.open(address, 1280, "light")
    browser.wait_for(DRAWN)
    focus = "document.activeElement.id || document.activeElement.textContent"
    browser.press("Tab")
    assert browser.value(focus) == "To the map"
    seen = []
    for _ in range(40):
        browser.press("Tab")
        seen.append(browser.value(focus))
    wanted = ["model", "day", "color", "other", "share", "user-search"]
    wanted += ["user-button", "sql", "sql-button", "clear-button", "export-button"]
    places = [seen.index(name) for name in wanted]
    assert places == sorted(places)


def fetch(address, path, host=None):
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.request("GET", path, headers={"Host": host or parts.netloc})
    answer = connection.getresponse()
    answer.read()
    return answer


def test_a_request_without_the_token_or_under_another_name_is_refused(address):
    prefix = urlsplit(address).path
    for path in ("/", "/_dash-layout", "/assets/style.css", "/wrong/", f"{prefix[:-3]}/"):
        assert fetch(address, path).status == 403
    assert fetch(address, prefix, host="evil.example").status == 403
    answer = fetch(address, prefix)
    assert answer.status == 200
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_a_spreadsheet_runs_no_cell():
    rows = [("=1+1", "+x"), ("-2", -2), ("@a", "plain"), ('a,"b', "x=1")]
    lines = csv_text(rows, ("a", "b")).splitlines()
    assert lines == ["a,b", "'=1+1,'+x", "'-2,-2", "'@a,plain", '"a,""b",x=1']


def test_titles_and_users_are_no_markup_in_a_chart(reader):
    view = View(reader, ViewState())
    figure = map_figure(view.day, view.coloring(view.day), view.highlights(view.day))
    texts = [trace["name"] for trace in figure["data"] if "name" in trace]
    assert any("&lt;img src=x" in text for text in texts)
    assert not any("<b>" in text or "<img" in text for text in texts)
    assert "text" not in figure["data"][0]  # who a point is, the page asks and writes as text


def test_who_lies_inside_a_polygon():
    places = np.array([[0.5, 0.5], [1.5, 0.5], [-0.1, 0.5], [0.5, 0.9]])
    arrow = [(0, 0), (1, 0), (1, 1), (0.5, 0.6), (0, 1)]  # with a notch above
    assert inside_polygon(places, arrow).tolist() == [True, False, False, False]


def test_a_view_is_the_same_from_its_address():
    state = ViewState(day="2026-01-06", user="a&b=ü", sql="SELECT '1' AS user_id", other="m2")
    assert ViewState.from_query(state.query) == state
    drawn = Selection([(0.25, -1.5), (2, 3)], is_on_other=True)
    assert Selection.of_store(drawn.store) == drawn
    assert ViewState.from_query("?nonsense=1&day=") == ViewState()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (ViewState(model="m9"), "no vectors of a model m9"),
        (ViewState(day="soon"), "'soon' is not a day"),
        (ViewState(day="2020-01-01"), "no vector of 2020-01-01 or earlier"),
        (ViewState(sql="SELECT 1 AS x"), "must select user_id; it has x"),
        (ViewState(sql="SELECT user_id FROM read_csv('/etc/passwd')"), "may not read from read_c"),
        (ViewState(sql="SELECT user_id FROM '/etc/passwd'"), "cannot run this"),
        (ViewState(color="label:none"), "no file of labels none"),
    ],
)
def test_what_an_address_asks_for_and_the_lake_lacks_is_one_line(reader, state, message):
    view = View(reader, state)
    with pytest.raises(BadInput, match=message):
        view.check()


def test_more_users_than_a_map_holds_are_drawn_at_even_steps(reader, monkeypatch):
    monkeypatch.setattr("explorer.figures.MAX_POINTS", 10)
    view = View(reader, ViewState(color="activity", lasso="-9,-9;-9,9;9,9;9,-9"))
    figure = map_figure(view.day, view.coloring(view.day), view.highlights(view.day))
    points, chosen, *others = figure["data"]
    assert [len(rows_of(trace)) for trace in (points, chosen)] == [10, 10]
    assert rows_of(points).tolist() == [0, 9, 18, 27, 36, 45, 54, 63, 72, 81]
    assert chosen["name"] == "chosen (82)"
    assert [trace["visible"] for trace in others] == [False] * 3
    assert len(view.chosen_users) == 82


def rows_of(trace):
    packed = trace["customdata"]
    return np.frombuffer(base64.b64decode(packed["bdata"]), packed["dtype"])


def test_points_of_many_users_are_small():
    sizes = [point_size(users) for users in (0, 2_393, 5_000, 20_000, 100_000)]
    assert sizes == [5, 5, 5, 2.5, 2]


def test_the_command_says_what_is_missing(places, tmp_path, monkeypatch, capsys):
    assert main(["explore", "--no-browser", "--data", str(tmp_path)]) == MissingTable.exit_code
    assert "the lake has no user_embeddings" in capsys.readouterr().err
    taken = bind_server(make_app(DayReader(places), Door()).server, 0)
    command = ["explore", "--no-browser", "--data", str(places.root), "--port", str(taken.port)]
    assert main(command) == 2
    assert "another program listens there" in capsys.readouterr().err
    taken.server_close()
    monkeypatch.delitem(sys.modules, "explorer.commands")
    monkeypatch.setitem(sys.modules, "dash", None)
    assert main(["explore"]) == 1
    assert "pip install 'userbert[" in capsys.readouterr().err
