"""The analyst's door: `from analyst import open_lake; lake = open_lake()`."""

from analyst.lake_access.open_lake import OpenLake, open_lake
from analyst.vectors.model_space import TwoModels, TwoSpaces, Vectors

__all__ = ["OpenLake", "TwoModels", "TwoSpaces", "Vectors", "open_lake"]
