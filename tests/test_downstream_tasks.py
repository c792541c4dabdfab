"""The judge's labels: from the views after the cut, and from files."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_judge import MIDNIGHT, write_views
from small_model import DAY

from analyst import open_lake
from contracts.errors import BadInput, MissingTable
from downstream.data.views import newest_cut, read_views
from downstream.rivals.aggregates import aggregate_counts, num_views, recency_frequency
from downstream.tasks.from_logs import LOG_TASKS, Periods
from downstream.tasks.labels_file import labels_files, read_task
from downstream.tasks.task import MIN_OF_A_CLASS, Task

HORIZON = 3
HOUR = timedelta(hours=1)


@pytest.fixture
def lake(places):
    """Ann comes again after 12 hours, bob after two days; cid and dan do not, eve is new."""
    views = [
        ("ann", MIDNIGHT - 30 * HOUR, 11), ("ann", MIDNIGHT - HOUR, 22),
        ("ann", MIDNIGHT + 12 * HOUR, 22), ("ann", MIDNIGHT + 40 * HOUR, 33),
        ("bob", MIDNIGHT - 3 * HOUR, 33), ("bob", MIDNIGHT + 48 * HOUR, 11),
        ("cid", MIDNIGHT - 5 * HOUR, 11), ("cid", MIDNIGHT - 4 * HOUR, 11),
        ("dan", MIDNIGHT - 6 * HOUR, 22), ("dan", MIDNIGHT + timedelta(days=HORIZON), 22),
        ("eve", MIDNIGHT, 22),
    ]  # fmt: skip
    write_views(places, views)
    return open_lake(places)


@pytest.fixture
def periods(lake):
    return Periods.cut(read_views(lake, DAY, HORIZON, 100), DAY, HORIZON, "host", "host")


def test_the_cut_is_the_first_instant_of_the_day_and_the_horizon_ends_before_its_last(periods):
    assert periods.past.user_ids.tolist() == ["ann", "bob", "cid", "dan"]  # eve is seen later only
    assert periods.past.counts().tolist() == [2, 1, 2, 1]
    assert periods.future.counts().tolist() == [2, 1, 0, 0]
    assert periods.past.newest(1).counts().tolist() == [1, 1, 1, 1]
    assert periods.past.newest(1).times.max() == periods.past.times.max()


def test_labels_by_hand(periods):
    tasks = {name: make(periods) for name, make in LOG_TASKS.items()}
    assert tasks["churn"].labels[:, 0].tolist() == [0, 0, 1, 1]
    assert tasks["activity"].labels[:, 0].tolist() == [1, 1, 0, 0]  # the median is half a view
    assert tasks["return_time"].labels[:, 0].tolist() == [0.5, 2.0, 3.0, 3.0]
    # Before the cut both hosts have three views; of equal ones the first name comes first.
    assert tasks["propensity"].columns == ("shop.example", "tea.example")
    assert tasks["propensity"].labels.tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]
    assert tasks["preference"].users.tolist() == [0, 1]
    assert tasks["preference"].labels.tolist() == [[0, 1], [1, 0]]
    assert tasks["next_topic"].users.tolist() == [0, 1]
    assert tasks["next_topic"].labels.tolist() == [[0, 1], [1, 0]]


def test_words_of_titles_can_be_topics_too(lake):
    views = read_views(lake, DAY, HORIZON, 100)
    task = LOG_TASKS["propensity"](Periods.cut(views, DAY, HORIZON, "word", "word"))
    assert task.columns == ("red", "shoes", "tea", "green")  # 3, 3, 3 and 2 views before the cut
    assert task.labels[0].tolist() == [0, 0, 1, 1]


def test_hand_made_numbers_by_hand(periods):
    assert np.expm1(num_views(periods.past, DAY))[:, 0] == pytest.approx([2, 1, 2, 1])
    last, first, views_28, sessions_28, views, sessions = np.expm1(
        recency_frequency(periods.past, DAY)
    ).T
    assert last * 24 == pytest.approx([1, 3, 4, 6])
    assert first * 24 == pytest.approx([30, 3, 5, 6])
    assert views_28.tolist() == pytest.approx([2, 1, 2, 1]) == sessions_28.tolist()
    assert views.tolist() == pytest.approx([2, 1, 2, 1]) == sessions.tolist()
    everything = aggregate_counts(periods.past, DAY)
    assert np.isfinite(everything).all()
    longer = Periods.cut(periods.past, DAY, HORIZON)  # without a view after the cut
    assert np.array_equal(everything, aggregate_counts(longer.past, DAY))


def test_a_sample_of_users_is_the_same_each_time_and_ends_at_its_size(lake):
    few = [read_views(lake, DAY, HORIZON, 2).user_ids.tolist() for _ in range(2)]
    assert few[0] == few[1]
    assert len(few[0]) == 2
    assert few[0] == sorted(few[0])


def test_the_newest_cut_leaves_whole_days_for_the_labels(lake):
    assert newest_cut(lake, 4) == DAY  # dan's last view is of the fourth day
    with pytest.raises(MissingTable, match="no user has a view in the 181 days before"):
        read_views(lake, DAY + timedelta(days=400), HORIZON, 10)


def test_a_task_leaves_out_labels_of_few_users_and_refuses_when_none_remains():
    users = np.arange(100)
    labels = np.zeros((100, 2))
    labels[:MIN_OF_A_CLASS, 0] = 1
    labels[: MIN_OF_A_CLASS - 1, 1] = 1
    task = Task("x", "labels", users, labels, ("often", "rare"), "")
    assert task.judgeable().columns == ("often",)
    rare = Task("x", "binary", users, labels[:, 1:], ("rare",), "")
    with pytest.raises(BadInput, match="task x has no label that 20 users have"):
        rare.judgeable()
    few = Task("x", "binary", users[:9], labels[:9, :1], ("often",), "")
    with pytest.raises(BadInput, match="has labels of 9 judged users"):
        few.judgeable()


def write_labels(places, name, text, settings):
    places.labels.mkdir(exist_ok=True)
    (places.labels / f"{name}.csv").write_text(text)
    (places.labels / f"{name}.toml").write_text(settings)
    return labels_files(places.labels)[name]


STATIC = 'kind = "classes"\nis_static = true\ndoc = "what they drink"\n'
DATED = 'kind = "binary"\nis_static = false\ndoc = "bought"\n'


def test_a_file_of_classes_becomes_a_column_a_class(places, periods):
    path = write_labels(places, "drink", "user_id,value\ncid,tea\nann,milk\nzoe,tea\n", STATIC)
    task = read_task(path, periods.past, DAY)
    assert (task.kind, task.columns, task.doc) == ("classes", ("milk", "tea"), "what they drink")
    assert task.users.tolist() == [0, 2]  # zoe is not judged
    assert task.labels.tolist() == [[1, 0], [0, 1]]


def test_parquet_and_numeric_user_ids_are_read_as_text(places, periods):
    places.labels.mkdir()
    times = [datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)] * 2
    table = pa.table({"user_id": [1, 2], "value": [0.5, 2.5], "event_time": times})
    pq.write_table(table, places.labels / "spend.parquet")
    settings = DATED.replace("binary", "number")
    (places.labels / "spend.toml").write_text(settings)
    task = read_task(labels_files(places.labels)["spend"], periods.past, DAY)
    assert task.labels.shape == (0, 1)  # nobody is called 1 or 2
    assert task.metric == "spearman"


def test_labels_from_before_the_cut_are_refused(places, periods):
    day_before = DAY - timedelta(days=1)
    rows = f"user_id,value,event_time\nann,1,{DAY}T00:00:00\nbob,0,{day_before}T23:59:59\n"
    path = write_labels(places, "bought", rows, DATED)
    with pytest.raises(BadInput, match=r"bought.csv: 1 labels are from before the cut, 2026-01-06"):
        read_task(path, periods.past, DAY)
    assert read_task(path, periods.past, day_before).labels[:, 0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("user_id,value\nann,1\n", DATED, "has no column event_time"),
        ("user_id,worth\nann,1\n", STATIC, "has no column value"),
        ("user_id,value\nann,1\nann,2\n", STATIC, "has 2 labels of user ann"),
        ("user_id,value\nann,\n", STATIC.replace("classes", "number"), "1 rows have no value"),
        ("user_id,value\nann,much\n", STATIC.replace("classes", "number"), "not a number"),
        ("user_id,value\nann,2\n", STATIC.replace("classes", "binary"), "neither 0 nor 1"),
        ("user_id,value\nann,1\n", 'kind = "guess"\n', "must have kind (binary, classes, number)"),
        ("user_id,value\nann,1\n", STATIC + "weight = 2\n", "there is no setting weight"),
        ("user_id,value\nann,1\n", "kind =", "cannot be read"),
        ("user_id,value,event_time\nann,1,soon\n", DATED, "event_time is not a time"),
    ],
)
def test_a_labels_file_that_cannot_be_used_is_one_clear_line(
    places, periods, text, settings, message
):
    path = write_labels(places, "x", text, settings)
    with pytest.raises(BadInput) as refused:
        read_task(path, periods.past, DAY)
    assert message in str(refused.value)


def test_two_files_of_one_name_are_refused(places):
    write_labels(places, "x", "", STATIC)
    (places.labels / "x.parquet").touch()
    with pytest.raises(BadInput, match="two files of labels named x"):
        labels_files(places.labels)
