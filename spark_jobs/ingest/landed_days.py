"""What a run of the ingest is responsible for: the files of some landing days."""

from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame, SparkSession

from contracts.landing_settings import LandingSettings
from contracts.settings.pseudonyms import Pseudonyms
from spark_jobs.ingest.landing_files import landing_file_names
from spark_jobs.ingest.landing_frame import landing_frame
from spark_jobs.ingest.line_reasons import judged_alone
from spark_jobs.ingest.parsing.parsed_lines import Part
from spark_jobs.ingest.suppression_list import SuppressionList

_FEW_PARTS = 2  # of a day, that one task each may write side by side
_SHARE_BYTES = 128 << 20  # of landing files


@dataclass(frozen=True)
class LandedDays:
    """The files of some landing days, and how they are read."""

    days: list[date]
    parts: list[Part]
    settings: LandingSettings
    forgotten: SuppressionList | None = None
    pseudonyms: Pseudonyms | None = None

    @property
    def provenance(self) -> dict[str, object]:
        """What commits of both tables record of how ids were stored; never a key."""
        return {"pseudonyms": self.pseudonyms.record} if self.pseudonyms else {}

    @property
    def span(self) -> str:
        # Not "between", which Delta 4.4 cannot resolve in a replaceWhere on a column of data. And
        # dates, for Delta asks this of each row that it writes, and would read a text each time.
        first, last = self.days[0], self.days[-1]
        return f"landing_day >= date'{first}' and landing_day <= date'{last}'"

    @property
    def run_name(self) -> str:
        return "_".join(dict.fromkeys((str(self.days[0]), str(self.days[-1]))))

    @property
    def is_spread(self) -> bool:
        """Whether a day is in many files, or parts of one."""
        return len(self.parts) > _FEW_PARTS * len(self.days)

    @property
    def num_shares(self) -> int:
        """Tasks that compare all lines, so that each has a million or two."""
        return max(2, sum(part.num_bytes for part in self.parts) // _SHARE_BYTES)

    def judged_lines(self, spark: SparkSession) -> DataFrame:
        """browsing_logs' columns of each line, its `place`, and its `reasons` or null."""
        lines = landing_frame(spark, self.parts, self.settings, self.forgotten, self.pseudonyms)
        return judged_alone(lines, self.settings)

    def files(self, spark: SparkSession) -> DataFrame:
        """(number, landing_day, file)."""
        days = {part.file: part.landing_day for part in self.parts}
        rows = [(n, days[file], file) for n, file in enumerate(landing_file_names(self.parts))]
        return spark.createDataFrame(rows, "number bigint, landing_day date, file string")
