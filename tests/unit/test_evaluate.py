"""What counts as a right reply to a held-out question."""

from __future__ import annotations

import pytest

from training.errors import CorpusBroken
from training.evaluate import Probe, judge, read_probes, scores

OWL = Probe("p1", "en", "fact", ("What was your owl called?",), (("Hedwig",),), ("Errol",))
PARENTS = Probe("p2", "zh-CN", "fact", ("你父母叫什么", "再说一遍"), (("詹姆",), ("莉莉",)), ())


@pytest.mark.parametrize(
    ("probe", "reply", "right"),
    [
        (OWL, "hedwig, a snowy one.", True),
        (OWL, "Not Errol: Hedwig.", False),
        (OWL, "A fine bird she was.", False),
        (PARENTS, "詹姆和莉莉。", True),
        (PARENTS, "莉莉。", False),
    ],
)
def test_a_reply_is_right_with_one_form_of_every_group_and_nothing_unwanted(probe, reply, right):
    assert judge(probe, reply).is_right is right


@pytest.mark.parametrize(
    ("reply", "broken"),
    [
        ("", True),
        ("Hedwig <|im_end|>", True),
        ("I know, I know, I know, I know, I know", True),
        ("安安安安", True),
        ("Hedwig……!!!!!", False),
        ("I know, I know. Hedwig, of course.", False),
    ],
)
def test_an_empty_looping_or_torn_reply_is_counted(reply, broken):
    assert judge(OWL, reply).is_broken is broken


def test_scores_are_by_kind_with_several_turns_apart():
    verdicts = [judge(OWL, "Hedwig."), judge(OWL, "No idea."), judge(PARENTS, "詹姆和莉莉。")]
    found = {score.group: (score.right, score.asked) for score in scores(verdicts)}
    assert found["fact"] == (1, 2)
    assert found["several turns"] == (1, 1)
    assert found["all"] == (2, 3)
    assert found["script of the question"] == (3, 3)


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "probes.jsonl"
    path.write_text('{"id": "x"}\n', encoding="utf-8")
    with pytest.raises(CorpusBroken, match=r"probes\.jsonl, line 1"):
        read_probes(path)
