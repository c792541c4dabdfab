"""sequence_pairs' rule in Polars, as a user of one machine would write it.

benchmarks/preprocess.py --polars PYTHON calls `main` in an environment that has Polars 2 and knows
nothing of the project.
"""

# mypy: ignore-errors

import polars as pl

USER = "user_id"


def users_and_sessions(files):
    """A row a user, all views as lists; and (user_id, pos, nth) of each session's first view."""
    views = (
        pl.scan_parquet(files, hive_partitioning=False)
        .select(USER, "event_time", "log_id", "title_id")
        .filter(pl.len().over(USER, pl.col("event_time").dt.date()) <= 5000)
        .sort(USER, "event_time", "log_id")
        .with_columns(
            pos=pl.int_range(pl.len()).over(USER),
            opens=(pl.col("event_time").diff() > pl.duration(minutes=30))
            | (pl.col(USER) != pl.col(USER).shift()),
        )
        .with_columns(pl.col("opens").fill_null(True))
        .collect()
    )
    users = views.group_by(USER, maintain_order=True).agg(
        num=pl.len(), sessions=pl.col("opens").sum(), titles="title_id", times="event_time"
    )
    opening = views.filter("opens").select(USER, "pos")
    return users.filter(pl.col("sessions") > 1), opening.with_columns(
        nth=pl.int_range(pl.len()).over(USER)
    )


def run_starts(users, opening):
    """(user_id, low): the first view of each run."""
    n = pl.max_horizontal(2, (pl.col("num") + 99) // 100)
    aims = (
        users.select(USER, "num", "sessions", n=n)
        .with_columns(k=pl.int_ranges(1, "n"))
        .explode("k")
        .with_columns(pos=pl.col("k") * pl.col("num") // pl.col("n"))
        .sort(USER, "pos")
        .join_asof(opening.select(USER, "pos", "nth"), on="pos", by=USER, check_sortedness=False)
        .with_columns(before=pl.col("nth").clip(1))
        .with_columns(after=pl.min_horizontal(pl.col("before") + 1, pl.col("sessions") - 1))
    )
    for side in ("before", "after"):
        found = opening.select(USER, pl.col("nth").alias(side), pl.col("pos").alias(f"{side}_pos"))
        aims = aims.join(found, on=[USER, side])

    def distance(side):
        return (pl.col("k") * pl.col("num") - pl.col("n") * pl.col(f"{side}_pos")).abs()

    nearest = pl.when(distance("after") < distance("before")).then("after_pos")
    lows = aims.select(USER, low=nearest.otherwise("before_pos"))
    firsts = users.select(USER, low=pl.lit(0, pl.Int64))
    return pl.concat([lows.cast({"low": pl.Int64}), firsts]).unique()


def pairs(files):
    users, opening = users_and_sessions(files)
    runs = (
        run_starts(users, opening)
        .sort(USER, "low")
        .join(users, on=USER, maintain_order="left")
        .with_columns(high=pl.col("low").shift(-1).over(USER).fill_null(pl.col("num").cast(pl.Int64)))
        .with_columns(fits=pl.col("high") - 100)
        .sort(USER, "fits")
        .join_asof(opening.select(USER, pl.col("pos").cast(pl.Int64)), left_on="fits",
                   right_on="pos", by=USER, strategy="forward", check_sortedness=False)
        .with_columns(
            low=pl.max_horizontal(
                "low", pl.when(pl.col("pos") < pl.col("high")).then("pos").otherwise("fits")
            )
        )
        .sort(USER, "high")
    )  # fmt: skip
    length = pl.col("high") - pl.col("low")
    runs = runs.select(
        USER, *(pl.col(name).list.slice("low", length) for name in ("titles", "times"))
    )
    return runs.select(
        USER,
        pair_id=pl.int_range(pl.len()).over(USER),
        a_title_ids="titles",
        a_event_times="times",
        b_title_ids=pl.col("titles").shift(-1).over(USER),
        b_event_times=pl.col("times").shift(-1).over(USER),
    ).filter(pl.col("b_title_ids").is_not_null())


def main(out, *views):
    pairs(list(views)).write_parquet(out)
