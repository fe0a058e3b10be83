"""Two who decode beside a load test: what they see of each other is theirs, whole, in order, and like what was sent."""

from __future__ import annotations

from pathlib import Path

from vardrum.bench.load.sample import Looks, Sample
from vardrum.bench.portal import Portal
from vardrum.bench.serving import Serving
from vardrum.tests.support.wait import wait_until


async def test_two_who_decode_see_each_other_as_they_were_sent(tmp_path: Path) -> None:
    seen = Looks()

    def enough(sample: Sample) -> bool:
        looks = sample.take()
        seen.add(vars(looks))
        return len(seen.likenesses) >= 6

    async with (
        Serving(tmp_path) as serving,
        Portal(serving.http, serving.key) as portal,
        Sample(portal) as sample,
    ):
        await wait_until(lambda: enough(sample), deadline=40, what="scores")
    assert seen.judge() == []
    figures = seen.figures()
    assert figures["pictures decoded"] >= 30
    # Much less than what VP8 makes of this film: a picture of another moment has 12 dB.
    assert figures["picture PSNR median dB"] > 20


def test_what_is_not_a_picture_of_the_other_is_told() -> None:
    looks = Looks()
    assert looks.judge() == ["the sample that decodes saw nothing"]
    looks.add({"decoded": 10, "unreadable": 2, "strange": 0, "disordered": 1, "likenesses": [30.0, 20.0, 40.0]})
    assert looks.judge() == [
        "2 of the sample's pictures were unreadable",
        "1 of the sample's pictures were out of order",
    ]
    assert looks.figures() == {
        "pictures decoded": 10,
        "pictures unreadable": 2,
        "picture PSNR median dB": 30.0,
        "picture PSNR least dB": 20.0,
    }
