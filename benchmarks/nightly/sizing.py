"""What a lake of so many users needs, in minutes and bytes, from slopes that were measured.

    python -m benchmarks.nightly.sizing [--users 1000000] [--views 126] [--active 0.1] [--cores 16]

Nothing runs: the table is arithmetic. Each slope below names where it was measured
(docs/performance.md; two cores, no GPU). What is assumed is printed with it: the work spreads over
the cores with SPREAD_EFFICIENCY, `--views` are a user's of six months, and `--active` of the users
view on a day. Without `--users` the table has four sizes. The last line is JSON.
"""

import argparse
import sys
from dataclasses import dataclass

from benchmarks.harness import benchmark_parser, print_result

SIZES_OF_THE_TABLE = (100_000, 1_000_000, 10_000_000, 100_000_000)  # users
SPREAD_EFFICIENCY = (
    0.7  # of n cores against n times one: shuffles, stragglers; assumed, not measured
)
DAYS = 182
_GIB = 1 << 30

# Core seconds a view: 62.9 M views of 500,000 users, machine A, two cores, all of them busy.
INGEST_CORE_SECONDS = 2 * 4.2 * 60 / 62.9e6
TITLES_CORE_SECONDS = 2 * 0.7 * 60 / 62.9e6
SESSIONS_CORE_SECONDS = 2 * 2.0 * 60 / 62.9e6
PAIRS_CORE_SECONDS = 2 * 0.8 * 60 / 62.9e6
# A night after 17,000 and after 62.9 M views took 33.2 and 58 s, machine A: the rest is the start.
NIGHT_START_SECONDS = 33.2
NIGHT_CORE_SECONDS_A_VIEW = 2 * (58 - 33.2) / 62.9e6
# `benchmarks.embed_users --threads 1`, NAML, 47 views a user, machine D and busy.
EMBED_CORE_SECONDS_A_USER = 1 / 1_096
# Bytes in Parquet, of the demo's lake: 725,691 views, 70,646 sessions, 6,748 pairs, 694 vectors.
LOG_BYTES_A_VIEW = 21.1
SESSION_BYTES_A_VIEW = 84.1 * 70_646 / 725_691
PAIR_BYTES_A_VIEW = 512.3 * 6_748 / 725_691
SEQUENCE_BYTES_A_USER = 466
VECTOR_BYTES = 1_060  # 256 float32 and keys; hardly compressible
# Arrays of the training: 8 bytes each of the title and of the time of a view.
ARRAY_BYTES_A_VIEW = 16


@dataclass(frozen=True)
class Load:
    """How many users there are, and what they do."""

    users: int
    views_a_user: float  # of six months
    active: float  # share of users who view on a day
    cores: int

    @property
    def views(self) -> float:
        return self.users * self.views_a_user

    def minutes(self, core_seconds: float) -> float:
        return core_seconds / (self.cores * SPREAD_EFFICIENCY) / 60


def stage_needs(load: Load) -> dict[str, float]:
    """Minutes of the stages, and GiB of the tables."""
    history = INGEST_CORE_SECONDS + TITLES_CORE_SECONDS + SESSIONS_CORE_SECONDS
    embedding = EMBED_CORE_SECONDS_A_USER * load.users
    night = NIGHT_CORE_SECONDS_A_VIEW * load.views + load.active * embedding
    tables = LOG_BYTES_A_VIEW + SESSION_BYTES_A_VIEW
    active_users = load.active * load.users
    vectors_a_night = active_users * VECTOR_BYTES * 2  # user_embeddings, and published_embeddings
    return {
        "history_minutes": load.minutes(history * load.views),
        "pairs_minutes": load.minutes(PAIRS_CORE_SECONDS * load.views),
        "embed_everybody_minutes": load.minutes(embedding),
        "night_minutes": NIGHT_START_SECONDS / 60 + load.minutes(night),
        "views_gib": tables * load.views / _GIB,
        "pairs_gib": PAIR_BYTES_A_VIEW * load.views / _GIB,
        "arrays_gib": ARRAY_BYTES_A_VIEW * load.views / _GIB,
        "vectors_of_everybody_gib": load.users * VECTOR_BYTES / _GIB,
        "vectors_of_six_months_gib": vectors_a_night * DAYS / _GIB,
        "sequences_of_six_months_gib": active_users * SEQUENCE_BYTES_A_USER * DAYS / _GIB,
    }


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def table_of(loads: list[Load]) -> str:
    """A row of Markdown for each load."""
    names = list(stage_needs(loads[0]))
    head = f"| users | {' | '.join(name.replace('_', ' ') for name in names)} |"
    rows = [
        f"| {load.users:,} | {' | '.join(map(_short, stage_needs(load).values()))} |"
        for load in loads
    ]
    return "\n".join([head, "|---" * (1 + len(names)) + "|", *rows])


def parsed_arguments() -> argparse.Namespace:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, help="default: a table of four sizes")
    parser.add_argument("--views", type=float, default=126, help="default: the paper's 126")
    parser.add_argument("--active", type=float, default=0.1, help="default: %(default)s")
    parser.add_argument("--cores", type=int, default=16, help="default: %(default)s")
    return parser.parse_args()


def main() -> int:
    given = parsed_arguments()
    sizes = [given.users] if given.users else SIZES_OF_THE_TABLE
    loads = [Load(users, given.views, given.active, given.cores) for users in sizes]
    sys.stdout.write(table_of(loads) + "\n")
    figures = {str(load.users): stage_needs(load) for load in loads}
    assumed = {"efficiency": SPREAD_EFFICIENCY, "views": given.views, "active": given.active}
    print_result({"name": "sizing", "agree": True, "figures": figures, "assumed": assumed})
    return 0


if __name__ == "__main__":
    sys.exit(main())
