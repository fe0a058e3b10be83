"""/v1/rooms/{room}/feedback: two questions after a visit."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from .fields import Body
from .routing import Answer, Asked, Routes

routes = Routes()
Stars = Annotated[int, Field(ge=1, le=5)]


class FeedbackBody(Body):
    """How well sound and picture worked, and how good the visit was: 1 (very bad) to 5 (very good)."""

    technical: Stars | None = None
    visit: Stars | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.technical is None and self.visit is None:
            raise ValueError("expected technical, visit or both")
        return self


@routes.add(
    "POST",
    "/v1/rooms/{room}/feedback",
    scope=None,
    anyone=True,
    late=True,
    body=FeedbackBody,
    status=204,
    problems=("function-off", "state-conflict"),
)
async def give(asked: Asked) -> Answer:
    """Rate the visit, by the session token of somebody who was let in; within ten minutes again, to replace it."""
    body: FeedbackBody = asked.body
    await asked.visits.rate(asked.room, asked.session.participant, body.technical, body.visit)
    return Answer(status=204)
