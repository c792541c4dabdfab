import pytest

from contracts.errors import BadInput
from contracts.landing_settings import LandingSettings, are_days_expected, read_settings
from landing.landing_writer import write_settings

WHOLE = """
format = "csv"
time_zone = "Europe/Paris"
time_format = "dd/MM/yyyy HH:mm:ss"
[columns]
user_id = "visitor"
event_time = "at"
title = "page_title"
host = "site"
log_id = "id"
"""


@pytest.fixture
def settings(tmp_path):
    def write(text):
        path = tmp_path / "settings.toml"
        path.write_text(text, encoding="utf-8")
        return read_settings(path, ["jsonl", "csv", "parquet"])

    return write


def test_every_setting_is_read(settings):
    columns = {
        "user_id": "visitor",
        "event_time": "at",
        "title": "page_title",
        "host": "site",
        "log_id": "id",
    }
    assert settings(WHOLE) == LandingSettings(
        format="csv",
        time_zone="Europe/Paris",
        time_format="dd/MM/yyyy HH:mm:ss",
        columns=columns,
    )


def test_zone_and_format_of_times_have_defaults(settings):
    read = settings('format="jsonl"\n[columns]\nuser_id="u"\nevent_time="t"\ntitle="p"')
    assert (read.time_zone, read.time_format) == ("UTC", "iso")


def test_a_missing_file_names_itself_and_the_way_out(tmp_path):
    with pytest.raises(BadInput, match=r"settings\.toml is missing.*userbert init"):
        read_settings(tmp_path / "settings.toml")


def test_a_file_that_is_no_toml_says_where(settings):
    with pytest.raises(BadInput, match=r"is not TOML.*line 1"):
        settings("format = jsonl")


def test_all_mistakes_are_named_at_once(settings):
    with pytest.raises(BadInput) as raised:
        settings(
            'format = "xml"\ntime_zone = "Mars"\ntime_format = ""\ncolour = 1\n'
            'damaged_files = "x"\nnobody = "a"\ntokenizer = 3\n'
            '[columns]\nuser_id = 5\nsession = "s"\ntitle = "t"\n'
            '[csv]\ndelimiter = ";;"\nx = 1\nencoding = "klingon"'
        )
    lines = str(raised.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        "format",
        "time_zone",
        "time_format",
        "damaged_files",
        "nobody",
        "tokenizer",
        "columns.user_id",
        "columns.event_time",
        "columns.session",
        "csv.delimiter",
        "csv.encoding",
        "csv.x",
        "colour",
    ]
    assert "found 'xml'; say one of jsonl, csv, parquet" in str(raised.value)


def test_without_columns_the_table_to_add_is_named(settings):
    with pytest.raises(BadInput, match=r"add a table \[columns\] with user_id, event_time, title"):
        settings('format = "csv"')


def test_logs_that_are_written_here_end_unless_their_folder_says_otherwise(tmp_path):
    assert are_days_expected(tmp_path)
    for _ in range(2):
        write_settings(tmp_path, about="a trial", format="jsonl", columns={"user_id": "u"})
        assert not are_days_expected(tmp_path)
    (tmp_path / "arrival.toml").write_text("days_expected = true\n")
    write_settings(tmp_path, about="a trial", format="jsonl", columns={"user_id": "u"})
    assert are_days_expected(tmp_path)
    (tmp_path / "arrival.toml").write_text("days_expected = ")
    assert are_days_expected(tmp_path)


@pytest.mark.parametrize(
    "encoding", ["rot13", "base64", "idna", "punycode", "cp037", "utf-7", "undefined", "utf-9"]
)
def test_an_encoding_in_which_no_line_could_be_found_is_refused(settings, encoding):
    with pytest.raises(BadInput, match=r"csv\.encoding: .*say an encoding of Python such as utf-8"):
        settings(f'{WHOLE}[csv]\nencoding = "{encoding}"\n')


def test_an_encoding_has_one_name(settings):
    names = {"utf16": "utf-16", "U32": "utf-32", "UTF_8_SIG": "utf-8", "latin1": "iso8859-1"}
    found = {name: settings(f'{WHOLE}[csv]\nencoding = "{name}"\n').csv.encoding for name in names}
    assert found == names


@pytest.mark.parametrize(
    "dialect",
    [
        "escape = '\"'",
        'delimiter = "\'"\nquote = "\'"',
        'escape = ","',
        'delimiter = "\\n"',
        'quote = "\\r"',
        'delimiter = "\\u0000"',
        'delimiter = "\u20ac"\nencoding = "latin-1"',
    ],
)
def test_signs_of_csv_that_are_the_same_or_no_characters_are_refused(settings, dialect):
    with pytest.raises(BadInput, match=r"csv: .*(three characters|has no)") as refused:
        settings(f"{WHOLE}[csv]\n{dialect}\n")
    assert "To go on" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 2
