import codecs

import pytest

from contracts.errors import BadInput
from contracts.user_lists import (
    named_users,
    read_csv_table,
    read_text,
    read_user_list,
    trim_user_id,
    user_list,
)


@pytest.fixture
def hand_in(tmp_path):
    def write(content, name="ids.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        "u1\nu2\n",
        "u1\nu2",
        "u1\r\nu2\r\n",
        "u1\ru2\r",
        "\n u1 \n\n\tu2\u00a0\n\u200b\n",
        "u1\nu2\nu1\n",
        "# who asked in May\nu1\n  # more\nu2\n",
        codecs.BOM_UTF8 + b"u1\r\nu2\r\n",
        "\ufeffu1\n\ufeffu2\n",  # two files with a mark, one after the other
        "u1\nu2\n".encode("utf-16"),
        codecs.BOM_UTF16_BE + "u1\nu2\n".encode("utf-16-be"),
        "u1\nu2\n".encode("utf-32"),
        '"u1"\n"u2"\n',
        "user_id\nu1\nu2\n",
        "user_id,asked\nu1,2026-05-03\nu2,\n",
        codecs.BOM_UTF8 + b'asked;"user_id"\r\n# a remark\r\nMay;u1\r\n\r\nMay;"u2"\r\n',
        "asked\tuser_id\nMay\tu1\nMay\tu2\n",
    ],
)
def test_a_list_names_the_same_users_however_it_was_saved(hand_in, content):
    assert read_user_list(hand_in(content)).ids == ("u1", "u2")


def test_quotes_keep_an_id_that_would_be_a_comment_or_a_column(hand_in):
    assert read_user_list(hand_in('"#17"\n"a,b"\n"he said ""no"""\na,b\n')).ids == (
        "#17",
        "a,b",
        'he said "no"',
    )
    users = read_user_list(hand_in("# one\n#17\nu1\n"))
    assert (users.ids, users.num_comments) == (("u1",), 2)


def test_a_header_may_call_the_users_as_the_landing_files_do(hand_in):
    path = hand_in("n,visitor\n1,u1\n2,u2\n", "ids.csv")
    assert read_user_list(path, ("user_id", "visitor")).ids == ("u1", "u2")
    with pytest.raises(BadInput, match=r"several columns.* calls none of them user_id"):
        read_user_list(path)
    with pytest.raises(BadInput, match=r"ids.csv, line 3, has no value in the column user_id"):
        read_user_list(hand_in("n,user_id\n1,u1\n2\n", "ids.csv"))
    assert read_user_list(hand_in("u1\nu2\n", "ids.csv")).ids == ("u1", "u2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "names no user"),
        ("# nobody yet\n\n", "names no user"),
        ("user_id\n", "names no user"),
        ("u1\nmüller\n".encode("latin-1"), "line 2, is not UTF-8 text"),
        ("u1\n".encode("utf-16-le"), "NUL character"),
        (codecs.BOM_UTF16_LE + b"u", "is not UTF-16 text"),
        ('user_id,n\n"u1', "line 2, is no CSV"),
    ],
)
def test_a_file_that_is_no_list_is_refused_in_one_line(hand_in, content, message):
    with pytest.raises(BadInput, match=message) as refused:
        read_user_list(hand_in(content))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_missing_and_a_folder_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"none.txt cannot be read: No such file"):
        read_user_list(tmp_path / "none.txt")
    with pytest.raises(BadInput, match="cannot be read: Is a directory"):
        read_text(tmp_path)
    with pytest.raises(BadInput, match="no user is named"):
        named_users([" ", "\ufeff"], None)


def test_a_search_gets_the_ids_as_read_and_as_given(hand_in):
    named = named_users(["u3", "u1 "], hand_in(codecs.BOM_UTF8 + b"u1\n\tu2\n"))
    assert named.ids == ("u3", "u1", "u2")
    assert set(named.spellings) == {"u3", "u1", "u2", "u1 ", "\ufeffu1", "\tu2"}
    assert user_list(["u\u00a01"]).ids == ("u\u00a01",)  # blanks inside an id are the id's own
    assert trim_user_id("\u2009\ufeff u1\u00a0\u200b\n") == "u1"


def test_a_table_keeps_text_as_text_and_line_numbers(hand_in):
    table = read_csv_table(
        hand_in(codecs.BOM_UTF8 + b'user_id;at\r\n\r\n007;"a\nb"\r\nNA;\r\n'), ("user_id", "at")
    )
    assert table.columns == ("user_id", "at")
    assert table.rows == [(4, ["007", "a\nb"]), (5, ["NA", ""])]
    with pytest.raises(BadInput, match="no column user_id"):
        read_csv_table(hand_in("a,b\n"), ("user_id",))
    with pytest.raises(BadInput, match="more than one column user_id"):
        read_csv_table(hand_in("user_id,user_id\n"), ("user_id",))
    with pytest.raises(BadInput, match="line 2: 3 values, and the header names 2"):
        read_csv_table(hand_in("user_id,at\n1,2,3\n"), ("user_id",))
