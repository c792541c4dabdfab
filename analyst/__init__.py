"""The analyst's door: `from analyst import open_lake; lake = open_lake()`.

What stands behind it is imported when it is asked for: the run report needs the vectors' measures,
and no DuckDB.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyst.lake_access.open_lake import OpenLake, open_lake
    from analyst.vectors.model_space import TwoModels, TwoSpaces, Vectors

__all__ = ["OpenLake", "TwoModels", "TwoSpaces", "Vectors", "open_lake"]

_HOMES = ("analyst.vectors.model_space", "analyst.lake_access.open_lake")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in map(importlib.import_module, _HOMES):
            if hasattr(home, name):
                return getattr(home, name)
    raise AttributeError(f"module 'analyst' has no {name!r}")
