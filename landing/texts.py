"""Arrow arrays of text, which are made by the million without a Python object each."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Texts: TypeAlias = Any  # a pyarrow array of strings: only its stubs, not the class, take [...]


def take_texts(texts: Texts, places: npt.NDArray[np.integer[Any]]) -> Texts:
    """The text at each place of an array, or of a list."""
    array = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
    return array.take(pa.array(places))


def join_texts(*parts: Texts) -> Texts:
    """The parts of each row, one after the other; a plain text is the same in every row."""
    return pc.binary_join_element_wise(*parts, "")


def text_bytes(texts: Texts) -> memoryview:
    """All texts in UTF-8, one after the other, without a copy."""
    _, offsets, data = texts.buffers()
    if data is None or offsets is None or not len(texts):
        return memoryview(b"")
    ends = np.frombuffer(memoryview(offsets), np.int32)
    return memoryview(data)[ends[texts.offset] : ends[texts.offset + len(texts)]]
