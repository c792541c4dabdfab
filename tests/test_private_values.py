"""What is private in titles and hosts does not reach the lake."""

import json
from datetime import date

import pyarrow as pa
import pytest

from spark_jobs.ingest.parsing.private_values import cut_urls, mask_line, mask_text, mask_texts
from userbert.cli import main

ALL = ("email", "phone", "card", "iban", "ssn", "url")
DAY = date(2017, 3, 1)
MASKED = {
    "Inbox - ann.lee+news@mail.example.org (3)": "Inbox - [email] (3)",
    "Call +49 30 1234567 now": "Call [phone] now",
    "Call 0049-30-1234567": "Call [phone]",
    "Tel. (030) 123 45 67": "Tel. [phone]",
    "ring 020 7946 0958 today": "ring [phone] today",
    "appel au 01 23 45 67 89": "appel au [phone]",
    "(212) 555-0147 is free": "[phone] is free",
    "212-555-0147": "[phone]",
    "paid by 4111 1111 1111 1111": "paid by [card]",
    "5500-0000-0000-0004 expired": "[card] expired",
    "378282246310005": "[card]",
    "to DE89 3704 0044 0532 0130 00 by Monday": "to [iban] by Monday",
    "GB82WEST12345698765432": "[iban]",
    "ssn 078-05-1120": "ssn [ssn]",
    "a@b.example, c@d.example": "[email], [email]",
}
KEPT = (
    "24 Facts About Jet Engines - Part 33",
    "Steak & Worchester Sauce, 12 oz, 2017-03-01",
    "order 1234567890123456",  # no digit of Luhn's
    "ISBN 978-3-16-148410-0",
    "4006381333931",  # an EAN of 13 digits
    "10.0.0.1 and 192.168.100.200",
    "2017-03-01T10:20:30.123456Z",
    "follow @ann on 3.141592653589793",
    "season 2016/2017, 01/02/2017, 01-02-2017",
    "DE88 8704 1144 1532 1130 12",  # its check digits are wrong
    "000-12-3456 and 666-12-3456",
    "Model AB12 CDEF 3456 GHIJ",
    "",
)


@pytest.mark.parametrize("text", MASKED)
def test_private_values_become_a_word(text):
    assert mask_text(text, ALL) == MASKED[text]
    assert mask_text(text, ()) == text
    assert mask_text(MASKED[text], ALL) == MASKED[text]


@pytest.mark.parametrize("text", KEPT)
def test_numbers_that_only_look_private_stay(text):
    assert mask_text(text, ALL) == text


def test_each_kind_is_masked_where_it_is_asked_for():
    text = "a@b.example 4111 1111 1111 1111"
    assert mask_text(text, ("card",)) == "a@b.example [card]"
    assert mask_text(text, ("email", "phone")) == "[email] 4111 1111 1111 1111"


def test_a_column_is_masked_as_its_texts_are():
    texts = [*MASKED, None, *KEPT, *MASKED]
    masked = mask_texts(pa.array(texts, pa.string()), ALL).to_pylist()
    assert masked == [text and mask_text(text, ALL) for text in texts]
    untouched = pa.array(["a@b.example", None])
    assert mask_texts(untouched, ("url",)) is untouched


def test_urls_are_cut_to_host_and_path():
    hosts = {
        "https://ann:hunter2@shop.example/cart/7?token=x&y#top": "shop.example/cart/7",
        "shop.example": "shop.example",
        "shop.example?mail=a@b.example": "shop.example",
        "//shop.example/a": "//shop.example/a",
        "http://[2001:db8::1]:80/x#y": "[2001:db8::1]:80/x",
        None: None,
    }
    assert cut_urls(pa.array(list(hosts), pa.string()), ALL).to_pylist() == list(hosts.values())
    line = '{"host": "https://ann:pw@a.example/x?token=secret", "title": "to c@d.example"}'
    assert mask_line(line, ALL) == '{"host": "https://a.example/x", "title": "to [email]"}'


def test_no_byte_of_the_lake_holds_what_was_masked(spark, places, monkeypatch):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    folder = places.landing / str(DAY)
    folder.mkdir(parents=True)
    (places.landing / "settings.toml").write_text(
        f'format = "jsonl"\nmask = {json.dumps(ALL)}\n[columns]\nuser_id = "user"\n'
        'event_time = "time"\ntitle = "title"\nhost = "host"\n'
    )
    host = "https://ann:hunter2@shop.example/cart?token=sesame"
    lines = [
        {"user": f"u{n}", "time": f"{DAY}T10:00:0{n % 10}Z", "title": title, "host": host}
        for n, title in enumerate((*MASKED, *KEPT[:-1]))
    ]
    refused = {"user": "", "time": "never", "title": "Inbox - eve@mail.example.org", "host": host}
    texts = [
        *map(json.dumps, (*lines, refused)),
        '{"torn": "mallory@mail.example.org 4111111111111111',
    ]
    (folder / "views.jsonl").write_text("\n".join(texts))
    assert main(["browsing-logs", "--from-day", str(DAY), "--to-day", str(DAY)]) == 0
    lake = spark.read.format("delta")
    titles = {row["title"] for row in lake.load(f"{places.lake}/browsing_logs").collect()}
    assert titles == {*MASKED.values(), *KEPT[:-1]}
    raws = [row["raw"] for row in lake.load(f"{places.lake}/rejected_logs").collect()]
    assert sorted("[email]" in raw for raw in raws) == [True, True]
    secrets = (b"ann.lee", b"eve@", b"mallory", b"1234567 ", b"4111", b"hunter2", b"sesame")
    for path in places.root.rglob("*"):
        if path.is_file() and places.landing not in path.parents:
            content = path.read_bytes()
            assert [secret for secret in secrets if secret in content] == [], path
