"""Loaded by Schemathesis: real ids where valid ones are wanted, and a line for each answer."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.checks import CHECKS
from schemathesis.specs.openapi import checks

# room: its participants
IDS: dict[str, list[str]] = json.loads(Path(os.environ["SCHEMATHESIS_IDS"]).read_text())
# Where any name will do, and the version 0 is that of what nobody has written yet, whatever is asked succeeds; and what
# was meant to be broken often isn't (a second schema fits, a length is near its bound). `test_care_units` breaks it.
MISJUDGED = {"PUT /v1/care-units/{care_unit}"}
ANSWERS = Path(os.environ["SCHEMATHESIS_IDS"]).with_name("answers")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """An id that only fits the pattern leads nowhere: one that exists takes its place, mostly."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    chance = random.Random(case.id)
    # One key for everything would be answered as a key that was used before; and a version that is made up, as too old.
    for name, fitting in (("Idempotency-Key", case.id), ("If-Match", "*")):
        if name in (case.headers or {}) and chance.random() < 0.8:
            case.headers[name] = fitting
    path = case.path_parameters or {}
    if "room" in path and path["room"] not in IDS and chance.random() < 0.8:
        path["room"] = chance.choice(list(IDS))
        if "part" in path:
            path["part"] = chance.choice(IDS[path["room"]])


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    with ANSWERS.open("a") as file:
        file.write(json.dumps({"operation": case.operation.label, "status": response.status_code}) + "\n")


_judge = checks.negative_data_rejection


def negative_data_rejection(ctx: Any, response: Any, case: Any) -> Any:
    """As Schemathesis's own, whose name and settings it has."""
    return None if case.operation.label in MISJUDGED else _judge(ctx, response, case)


# By its decorator nothing that is there can be registered anew.
CHECKS.register(negative_data_rejection)
