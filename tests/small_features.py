"""published_embeddings of a few users, as delta-rs writes it, for Feast to read."""

import zlib
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from contracts.forecasts import FORECAST_NAMES
from contracts.vectors import own_space

LARGE = 9_000_000_000_000  # hashes have 19 digits, of which a float keeps 16
SCHEMA = pa.schema(
    [
        ("as_of", pa.date32()),
        ("user_id", pa.string()),
        ("as_of_time", pa.timestamp("us", tz="UTC")),
        ("model_id", pa.string()),
        ("embedding", pa.list_(pa.float32())),
        ("norm", pa.float64()),
        ("num_views", pa.int32()),
        ("last_view_time", pa.timestamp("us", tz="UTC")),
        *((name, pa.float32()) for name in FORECAST_NAMES),
        ("space_id", pa.string()),
        ("written_at", pa.timestamp("us", tz="UTC")),
        ("sequence_hash", pa.int64()),
    ]
)


NO_FORECASTS = (None,) * len(FORECAST_NAMES)
SPACES = {"m3": own_space("m-2")}  # of a model that was aligned with m-2
FORECASTS_OF = {"m3": (0.5, 0.25, 12.0, 3.5, 4.0)}  # of a model that forecasts


def midnight(day):
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def row(model_id, day, user):
    """A vector that its model, day and user determine."""
    seed = [len(model_id), ord(model_id[-1]), day.toordinal(), zlib.crc32(user.encode()) % 100_000]
    vector = np.random.default_rng(seed).standard_normal(256).astype(np.float32)
    hour = midnight(day) - timedelta(hours=1)
    norm = float(np.linalg.norm(vector))
    return (
        day,
        user,
        midnight(day),
        model_id,
        vector.tolist(),
        norm,
        1,
        hour,
        *FORECASTS_OF.get(model_id, NO_FORECASTS),
        SPACES.get(model_id, own_space(model_id)),
        midnight(day) + timedelta(hours=2),
        sum(seed) * LARGE + 1,
    )


def publish(store, model_id, users_by_day):
    """Replace the whole table: day of June 2017 -> users."""
    from feature_store.published import Published, table_path

    rows = [row(model_id, date(2017, 6, d), u) for d, users in users_by_day.items() for u in users]
    table = pa.Table.from_arrays(
        [
            pa.array(column, t)
            for column, t in zip(zip(*rows, strict=True), SCHEMA.types, strict=True)
        ],
        schema=SCHEMA,
    )
    path = table_path(store.places)
    write_deltalake(path, table, mode="overwrite", partition_by=["as_of"])
    return Published.open(store.places)
