"""`userbert sql` reads the lake's tables and nothing else, whatever it is asked."""

import os
import tempfile
from datetime import date
from pathlib import Path

import duckdb
import pytest
from small_lake import embedding, publish, write

from analyst.lake_access.open_lake import open_lake
from analyst.lake_access.sql_guard import lock_to_tables, must_be_one_select
from analyst.questions.sql import select_rows
from contracts.errors import BadInput
from contracts.paths import Places
from userbert.cli import main

MONDAY = date(2026, 1, 5)
MODEL = "m 1:ü"  # whose folder Delta percent-encodes


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A lake in a folder whose name needs quoting, and files beside it that nobody may read."""
    places = Places(tmp_path_factory.mktemp("it's a lake of ü"))
    publish(places, [embedding(user, MONDAY, [1, 2], model=MODEL) for user in ("ann", "bob")])
    titles = ["[/video] how to", "[bold]hello[/bold]", ":x: and :smile:", "red \x1b[31m"]
    rows = [{"title_id": n, "title": title, "words": ["x"]} for n, title in enumerate(titles)]
    write(places, "titles", rows)
    (places.root / "secret.csv").write_text("name,key\nann,squeamish ossifrage\n")
    duckdb.sql(f"COPY (SELECT 'squeamish ossifrage' AS key) TO '{_text(places)}/secret.parquet'")
    return places


def _text(places):
    return str(places.root).replace("'", "''")


@pytest.fixture
def run(places, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))

    def run(query, *flags):
        code = main(["sql", query, *flags])
        return code, capsys.readouterr()

    return run


def files_below(folder):
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


WAYS_TO_WRITE = (
    "COPY (SELECT 1) TO '{root}/x.csv'",
    "COPY (SELECT 1) TO 'x.csv'",
    "COPY titles TO '{root}/x.parquet' (FORMAT parquet)",
    "COPY (SELECT 1) TO '{commit}' (FORMAT csv)",
    "COPY (SELECT 1) TO '{data_file}' (USE_TMP_FILE false)",
    "copy titles from '{root}/secret.csv'",
    "ATTACH '{root}/x.db'",
    "ATTACH '{root}/x.db' AS other; CREATE TABLE other.t AS SELECT 1",
    "ATTACH '{root}/lake/titles' AS other (TYPE delta)",
    "EXPORT DATABASE '{root}/x'",
    "IMPORT DATABASE '{root}'",
    "PRAGMA import_database('{root}')",
    "PRAGMA database_list",
    "PRAGMA threads = 1",
    "PRAGMA enable_profiling",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{root}/x.duckdb_extension'",
    "FORCE INSTALL spatial FROM community",
    "SET threads = 1",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "RESET enable_external_access",
    "SET VARIABLE x = 1",
    "USE memory",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW titles AS SELECT 1",
    "CREATE TEMP TABLE t AS FROM read_csv('{root}/secret.csv')",
    "CREATE MACRO steal() AS TABLE FROM read_csv('{root}/secret.csv')",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "DROP VIEW titles",
    "INSERT INTO titles VALUES (1, 'x', ['x'])",
    "UPDATE titles SET title = 'x'",
    "DELETE FROM titles",
    "TRUNCATE titles",
    "ALTER VIEW titles RENAME TO stolen",
    "WITH a AS (INSERT INTO titles VALUES (1, 'x', ['x']) RETURNING *) SELECT * FROM a",
    "WITH a AS (SELECT 1) INSERT INTO titles SELECT 1, 'x', ['x']",
    "SELECT * FROM (COPY titles TO '{root}/x.csv')",
    "SELECT 1; COPY (SELECT 1) TO '{root}/x.csv'",
    "SELECT 1; SELECT 2",
    "/* SELECT */ COPY (SELECT 1) TO '{root}/x.csv' -- SELECT",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{root}/x.csv'",
    "EXPLAIN SELECT 1",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN TRANSACTION",
    "",
    ";",
    "-- SELECT 1",
)
WAYS_TO_READ = (
    "SELECT * FROM read_csv('{root}/secret.csv')",
    "SELECT * FROM READ_CSV_AUTO('{root}/secret.csv')",
    "FROM \"read_csv\"('{root}/secret.csv')",
    "FROM system.main.read_text('{root}/secret.csv')",
    "SELECT content FROM read_text('{root}/secret.csv')",
    "SELECT content FROM read_blob('{root}/secret.csv')",
    "SELECT read_text('{root}/secret.csv')",
    "SELECT * FROM read_json('{commit}')",
    "SELECT * FROM read_ndjson_objects('{commit}')",
    "SELECT * FROM read_parquet('{root}/secret.parquet')",
    "SELECT * FROM parquet_scan('{data_file}')",
    "SELECT * FROM parquet_metadata('{root}/secret.parquet')",
    "SELECT * FROM parquet_kv_metadata('{root}/secret.parquet')",
    "SELECT * FROM sniff_csv('{root}/secret.csv')",
    "SELECT * FROM glob('{root}/*')",
    "SELECT * FROM '{root}/secret.csv'",
    "SELECT * FROM '{root}/secret.parquet'",
    "SELECT * FROM '{root}/*.parquet'",
    'SELECT * FROM "{root}/secret.csv"',
    "DESCRIBE '{root}/secret.csv'",
    "DESCRIBE SELECT * FROM read_csv('{root}/secret.csv')",
    "SUMMARIZE FROM read_csv('{root}/secret.csv')",
    "SUMMARIZE '{root}/secret.csv'",
    "SELECT * FROM delta_scan('{root}/lake/titles')",
    "SELECT * FROM delta_list_files('{root}/lake/titles')",
    "DESCRIBE SELECT * FROM delta_scan('{root}/lake/titles')",
    "SELECT * FROM query('FROM read_text(''{root}/secret.csv'')')",
    "SELECT * FROM query_table('{root}/secret.csv')",
    "WITH a AS (FROM read_text('{root}/secret.csv')) SELECT * FROM a",
    "SELECT (SELECT content FROM read_text('{root}/secret.csv'))",
    "SELECT 1 WHERE EXISTS (FROM read_text('{root}/secret.csv'))",
    "SELECT 1 UNION ALL SELECT key FROM read_csv('{root}/secret.csv')",
    "SELECT * FROM titles JOIN read_csv('{root}/secret.csv') ON true",
    "SELECT * FROM titles, LATERAL (SELECT * FROM glob('{root}/*'))",
    "SELECT * FROM titles ORDER BY (SELECT max(key) FROM read_csv('{root}/secret.csv'))",
    "PIVOT (FROM read_csv('{root}/secret.csv')) ON name IN ('ann') USING max(key)",
    "UNPIVOT (FROM read_csv('{root}/secret.csv')) ON name INTO NAME n VALUE v",
    "SELECT getenv('HOME')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM pragma_database_list()",
    "SELECT * FROM secrets",
    "SELECT * FROM json_execute_serialized_sql("
    "json_serialize_sql('FROM read_text(''{root}/secret.csv'')'))",
    "SELECT list_transform([1], x -> (SELECT content FROM read_text('{root}/secret.csv')))",
    "SELECT * FROM (VALUES (1)) t(x), read_blob('{root}/secret.csv')",
    "SELECT * FROM titles ASOF JOIN read_text('{root}/secret.csv') r ON true",
    "SELECT * FROM 'file://{root}/secret.csv'",
    "SELECT * FROM 'https://example.org/x.csv'",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM sqlite_scan('{root}/secret.csv', 'x')",
    "SELECT * FROM which_secret('s3://bucket', 's3')",
    "SELECT current_setting('s3_secret_access_key')",
)
SELECTS = (
    "SELECT count(*) FROM titles",
    "FROM titles SELECT title_id",
    "SELECT 1;",
    "TABLE titles",
    "VALUES (1, 2)",
    "WITH a AS (SELECT 1 AS x) SELECT x FROM a",
    "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 3) FROM t",
    "SELECT unnest(words) FROM titles",
    "FROM unnest([1, 2])",
    "SELECT * FROM range(3) UNION ALL SELECT * FROM generate_series(3)",
    "PIVOT titles ON title_id IN (1, 2) USING count(*) GROUP BY title",
    "DESCRIBE titles",
    "SUMMARIZE titles",
    "SHOW TABLES",
    "SELECT table_name FROM information_schema.tables",
    "SELECT 'COPY x TO ''y''' AS text",
    "SELECT vector_norm(embedding) FROM user_embeddings_latest",
    "SELECT user_id FROM user_embeddings_as_of(DATE '2026-01-05')",
    "SELECT user_id FROM user_embeddings_as_of(DATE '2026-01-05', '" + MODEL + "')",
)


def filled_in(query, places):
    lake = f"{places.root}/lake"
    (data_file,) = [str(path) for path in Path(lake, "titles").glob("*.parquet")]
    commit = f"{lake}/titles/_delta_log/00000000000000000000.json"
    names = {"root": places.root, "commit": commit, "data_file": data_file}
    return query.format(**{name: str(path).replace("'", "''") for name, path in names.items()})


@pytest.fixture(scope="module")
def locked(places):
    lake = open_lake(places)
    lock_to_tables(lake.connection, lake.data_files())
    return lake


def outcome(lake, query):
    """What `userbert sql` does with a query: its rows, or the error."""
    try:
        return select_rows(lake, query).fetchall()
    except (BadInput, duckdb.Error) as error:
        return error


def test_what_is_no_select_is_refused_before_it_runs(locked, places, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a relative path would be written
    before = files_below(places.root)
    for query in WAYS_TO_WRITE:
        error = outcome(locked, filled_in(query, places))
        assert isinstance(error, BadInput), query
        assert "one SELECT" in str(error) or "cannot parse" in str(error), query
    assert files_below(places.root) == before
    assert list(tmp_path.iterdir()) == []


def test_no_select_reads_another_file(locked, places):
    for query in WAYS_TO_READ:
        error = outcome(locked, filled_in(query, places))
        assert isinstance(error, BadInput | duckdb.Error), query
        assert "ossifrage" not in str(error), query


def test_selects_over_the_tables_run(locked):
    for query in SELECTS:
        assert isinstance(outcome(locked, query), list), query


def test_duckdb_alone_keeps_to_the_tables_where_no_statement_is_judged(places, tmp_path):
    """The second guard without the first. What is left open to it (a Delta log's list of files,
    a table's own data files) is what the first one refuses."""
    before = files_below(places.root)
    lake = open_lake(places)
    lock_to_tables(lake.connection, lake.data_files())
    for query in (*WAYS_TO_WRITE, *WAYS_TO_READ):
        if "{root}" not in query and "{commit}" not in query:
            continue
        try:
            rows = lake.connection.execute(filled_in(query, places)).fetchall()
        except duckdb.Error as error:
            rows = str(error)
        assert "ossifrage" not in str(rows), query
    assert files_below(places.root) == before
    assert list(tmp_path.iterdir()) == []


def test_the_command_refuses_with_one_line_and_exit_code_2(run, places):
    code, printed = run(filled_in("COPY (SELECT 1) TO '{root}/x.csv'", places))
    assert (code, printed.out) == (2, "")
    assert printed.err.startswith("userbert sql: UB-701: this is no SELECT")
    assert printed.err.count("\n") == 1
    code, printed = run(filled_in("FROM '{root}/secret.csv'", places))
    assert (code, printed.out) == (2, "")
    assert "ossifrage" not in printed.err


def test_a_lock_cannot_be_taken_off(locked):
    for setting in ("enable_external_access = true", "allowed_paths = ['/etc/passwd']"):
        with pytest.raises(duckdb.Error):
            locked.connection.execute(f"SET {setting}")


def test_variables_of_python_are_no_tables(locked):
    stolen = locked.sql("SELECT 1")  # noqa: F841 what DuckDB would find by its name in this frame
    with pytest.raises(duckdb.Error, match="stolen does not exist"):
        locked.sql("SELECT * FROM stolen")


def test_a_sort_that_does_not_fit_into_memory_still_runs(places):
    lake = open_lake(places)
    lake.connection.execute("SET memory_limit = '60MB'; SET threads = 1")
    lock_to_tables(lake.connection, lake.data_files())
    numbers = "SELECT range AS i, repeat('x', 90) AS x FROM range(600000)"
    query = f"SELECT count(*) FROM (FROM ({numbers}) ORDER BY hash(i), x LIMIT 500000)"
    assert lake.sql(query).fetchall() == [(500_000,)]
    lake.connection.close()
    assert not list(Path(tempfile.gettempdir()).glob(f"userbert-sql-{os.getpid()}*"))


def test_values_are_printed_as_they_are(run):
    code, printed = run("SELECT title AS ':x: [b]title[/b]' FROM titles ORDER BY title_id")
    assert code == 0
    for text in ("[/video] how to", "[bold]hello[/bold]", ":x: and :smile:", r"red \x1b[31m"):
        assert text in printed.out
    assert ":x: [b]title[/b]" in printed.out


def test_a_csv_holds_no_formula_of_the_data(run):
    query = "SELECT * FROM (VALUES (1, '=1+1'), (-2, '@x'), (3, '-5 %'), (4, 'tea')) t(n, title)"
    code, printed = run(query, "--csv")
    assert (code, printed.out) == (0, "n,title\n1,'=1+1\n-2,'@x\n3,'-5 %\n4,tea\n")


def test_a_wrong_query_says_what_tables_there_are(run):
    code, printed = run("SELECT nothing FROM title")
    assert code == 2
    assert "the tables are: published_embeddings, published_history, titles" in printed.err


def test_a_pragma_is_judged_without_opening_the_file_that_it_names():
    with pytest.raises(BadInput, match="no SELECT"):
        must_be_one_select(duckdb.connect(), "PRAGMA import_database('/nowhere')")
