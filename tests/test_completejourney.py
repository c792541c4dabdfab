"""The demo's receipts as landing files."""

import json
from datetime import date, datetime

import pyarrow as pa
import pytest

from contracts.errors import BadInput
from contracts.landing_settings import read_settings
from contracts.terminal.command_line import parse_options
from landing.completejourney import (
    as_lines,
    department_host,
    main,
    package_data,
    product_titles,
    read_purchases,
    reading_form,
)


@pytest.fixture
def items():
    return product_titles(
        pa.table(
            {
                "product_id": [1, 2, 3],
                "product_type": ['12" PIZZA', None, None],
                "product_category": ["FRZN PIZZA", "EGGS", None],
                "brand": ["National", "Private", "National"],
                "department": ["GROCERY", "DRUG GM", "MISCELLANEOUS"],
            }
        )
    )


def receipts(*rows):
    names = ("household_id", "basket_id", "product_id", "transaction_timestamp")
    return pa.table(
        {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    ).cast(pa.schema([(n, pa.int64()) for n in names[:3]] + [(names[3], pa.timestamp("ns"))]))


@pytest.mark.parametrize(
    ("product", "title"),
    [
        (
            ("ICE - CRUSHED/CUBED", "FRZN ICE", "National"),
            "Ice - Crushed/Cubed, Frozen Ice, National",
        ),
        (
            ("CANDY BARS (SINGLES)(INCLUDING", "CANDY - CHECKLANE", "Private"),
            "Candy Bars (Singles), Candy - Checklane, Private",
        ),
        (("CIGARETTES", "CIGARETTES", "National"), "Cigarettes, National"),
        ((None, "HOSIERY/SOCKS", "National"), "Hosiery/Socks, National"),
        (("BEERALEMALT LIQUORS", "MISC. DAIRY", "National"),
         "Beer/Ale/Malt Liquors, Miscellaneous Dairy, National"),
        ((None, None, "National"), None),
    ],
)  # fmt: skip
def test_a_title_reads_as_a_person_would_write_it(product, title):
    assert reading_form(*product) == title


@pytest.mark.parametrize(
    ("department", "host"),
    [
        ("GROCERY", "grocery.shop.example"),
        ("TRAVEL & LEISURE", "travel-leisure.shop.example"),
        ("CNTRL/STORE SUP", "cntrl-store-sup.shop.example"),
        ("DRUG GM", "drugstore.shop.example"),
    ],
)
def test_a_department_is_the_host(department, host):
    assert department_host(department) == host


def test_a_receipt_line_is_a_landing_line(items):
    days, lines = as_lines(receipts((900, 77, 1, datetime(2017, 1, 2, 3, 4, 5))), items)
    assert [json.loads(line) for line in lines.to_pylist()] == [
        {
            "household_id": "900",
            "transaction_timestamp": "2017-01-02T03:04:05",
            "title": '12" Pizza, Frozen Pizza, National',
            "department": "grocery.shop.example",
            "line_id": "77-1",
        }
    ]
    assert days.astype("datetime64[D]").astype(date).tolist() == [date(2017, 1, 2)]


def test_no_line_is_left_out_for_what_is_unknown(items):
    """Product 3 has neither type nor category, and product 4 is not in the catalogue."""
    noon = datetime(2017, 1, 2, 12)
    _, lines = as_lines(receipts((900, 77, 4, noon), (900, 77, 3, noon)), items)
    views = [json.loads(line) for line in lines.to_pylist()]
    assert [(line["line_id"], line["title"]) for line in views] == [("77-3", None), ("77-4", None)]
    assert [line["department"] for line in views] == ["miscellaneous.shop.example", None]


def test_lines_are_ordered_by_time_whatever_the_order_of_the_receipts(items):
    some = [(n % 3, 70 - n, 1 + n % 2, datetime(2017, 1, 1 + n % 2)) for n in range(9)]
    _, lines = as_lines(receipts(*some), items)
    _, reversed_lines = as_lines(receipts(*some[::-1]), items)
    assert lines == reversed_lines


def test_the_demo_lands_each_day_of_the_package_whole_and_twice_the_same(tmp_path, capsys):
    main(**parse_options(main, ["--to", "2017-01-03", "--out", str(tmp_path)]))
    landed = {p.parent.name: p.read_bytes() for p in tmp_path.glob("landing/*/transactions.jsonl")}
    assert sorted(landed) == ["2017-01-01", "2017-01-02", "2017-01-03"]
    views = [json.loads(line) for day in landed.values() for line in day.splitlines()]
    transactions, _ = read_purchases(package_data(), date(2017, 1, 1), date(2017, 1, 3))
    assert len(views) == transactions.num_rows > 5_000
    assert len({line["line_id"] for line in views}) == len(views)
    for day, text in landed.items():
        assert all(
            json.loads(line)["transaction_timestamp"].startswith(day) for line in text.splitlines()
        )
    main(date(2017, 1, 1), date(2017, 1, 3), tmp_path)
    again = {p.parent.name: p.read_bytes() for p in tmp_path.glob("landing/*/transactions.jsonl")}
    assert again == landed
    assert "userbert browsing-logs" in capsys.readouterr().out


def test_the_demo_says_how_its_lines_are_read(tmp_path):
    main(date(2017, 1, 1), date(2017, 1, 1), tmp_path)
    settings = read_settings(tmp_path / "landing/settings.toml")
    assert (settings.format, settings.time_zone) == ("jsonl", "UTC")
    assert dict(settings.columns) == {
        "user_id": "household_id",
        "event_time": "transaction_timestamp",
        "title": "title",
        "host": "department",
        "log_id": "line_id",
    }


def test_the_demo_is_six_months_without_flags():
    options = parse_options(main, [])
    assert (options["from_day"], options["to_day"]) == (date(2017, 1, 1), date(2017, 6, 30))


def test_days_in_the_wrong_order_are_refused():
    with pytest.raises(BadInput, match="2017-02-02 is after --to 2017-02-01"):
        main(date(2017, 2, 2), date(2017, 2, 1))
