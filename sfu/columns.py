"""What is remembered of each downlink from tick to tick, one array a quantity, while downlinks come and go."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def begins(start: float | bool | int, *, width: int = 0) -> dict[str, Any]:
    """Metadata of a column: what it is of someone who has just come, and how many of it a row has, 0 for one number."""
    return {"start": start, "width": width}


@dataclass
class Columns:
    """Base of dataclasses whose further fields are columns; `number`: the engine's, one for each row."""

    number: Ints

    @classmethod
    def new(cls, number: Ints) -> Self:
        """Everybody has just come; `number`: shape (downlinks,)."""
        made: list[NDArray[Any]] = []
        for one in fields(cls)[1:]:
            start, width = one.metadata["start"], one.metadata["width"]
            made.append(np.full((len(number), width) if width else len(number), start))
        return cls(number.copy(), *made)

    def follow(self, number: Ints) -> Self:
        """The same for the downlinks of now: who stayed is remembered, who is new begins."""
        if np.array_equal(self.number, number):
            return self
        fresh = self.new(number)
        _, now, before = np.intersect1d(number, self.number, return_indices=True)
        for one in fields(self)[1:]:
            getattr(fresh, one.name)[now] = getattr(self, one.name)[before]
        return fresh
