"""What each check of a corpus finds in small rows, and what it leaves alone."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from data.checks.alignment import slides
from data.checks.check import CHECKS, Context, check
from data.checks.duplicates import fold, jaccard, near_twins, pairs, values
from data.checks.finding import Bound, Finding
from data.checks.form import are_cut, loop, unbalanced
from data.checks.leaks import Probe
from data.checks.rows import Corpus, Row, parse_corpus, read_corpus
from data.errors import CorpusUnreadable

CAMELBELL = Path(__file__).parents[3] / "shared/data/camelbell/output.json"
SYSTEM = (
    '{"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "a"}],'
    ' "chosen": {"from": "gpt", "value": "b"}}'
)
HARRY = Context(
    persona="harry", names=("Harry", "哈利"), text="You are Harry. 《预言家日报》 Hagrid 罗恩·韦斯莱"
)


def row(question, answer, *, lang="en", topic="T-1", place=1, before=()):
    return Row(place, (*before, (question, answer)), lang=lang, topic=topic)


def findings(rows, context=HARRY):
    numbered = tuple(Row(at, one.turns, one.lang, one.topic, one.told) for at, one in enumerate(rows, 1))
    return {finding.check: finding for finding in check(Corpus(numbered), context)}


def found(name, *rows, context=HARRY):
    """The places that one check names."""
    return [hit.place for hit in findings(rows, context)[name].hits]


class TestRows:
    @pytest.mark.parametrize(
        "text",
        [
            '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
            '{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}',
            '{"conversations": [{"from": "human", "value": "a"}], "chosen": {"from": "gpt", "value": "b"}}',
            SYSTEM,
            '{"Instruction": "a", "input": "", "output": "b", "history": ""}',
            '{"question": "a", "generated": ["b"]}',
            '[{"instruction": "a", "output": "b"},\n]\n',
            '[{"prompt": "a", "response": "b"}]',
        ],
    )
    def test_every_shape_is_a_question_and_an_answer(self, text):
        (one,) = parse_corpus(text).rows
        assert one.turns == (("a", "b"),)

    def test_instruction_and_input_are_one_question_after_the_history(self):
        text = '{"instruction": "a", "input": "b", "output": "c", "history": [["x", "y"]]}'
        assert parse_corpus(text).rows[0].turns == (("x", "y"), ("a\nb", "c"))

    def test_a_row_with_several_answers_is_several_rows(self):
        rows = parse_corpus('{"question": "a", "generated": ["b", "c"]}').rows
        assert [one.answer for one in rows] == ["b", "c"]

    def test_lines_count_from_one_and_arrays_from_zero(self):
        line = '{"question": "a", "answer": "b"}'
        lines, array = parse_corpus(f"\n{line}\n"), parse_corpus(f"[{line}, {line}]")
        assert [(lines.unit, one.place) for one in lines.rows] == [("line", 2)]
        assert [(array.unit, one.place) for one in array.rows] == [("row", 0), ("row", 1)]

    @pytest.mark.parametrize(
        "line",
        [
            '{"question": "a", "answer": ""}',
            "7",
            "{",
            '{"question": "a"}',
            '{"messages": [{"role": "user"}]}',
        ],
    )
    def test_a_broken_row_is_counted_with_its_place_and_the_others_go_on(self, line):
        corpus = parse_corpus(f'{{"question": "a", "answer": "b"}}\n{line}')
        assert [place for place, _ in corpus.broken] == [2]
        assert len(corpus.rows) == 1

    @pytest.mark.parametrize("content", [b"\xff\xfe", b"[1, 2", b"hello", b""])
    def test_a_file_without_rows_is_one_sentence(self, tmp_path, content):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(CorpusUnreadable, match="file"):
            read_corpus(tmp_path / "file")


class TestDuplicates:
    def test_case_width_space_and_punctuation_do_not_matter(self):
        assert fold("  Ｈello,  World！") == fold("hello world")

    @pytest.mark.parametrize(
        ("left", "right"), [("1+23=?", "12+3=?"), ("1 2", "12"), ("1.5", "15"), ("😂", "😭"), ("?", "...")]
    )
    def test_sums_and_bare_marks_stay_apart(self, left, right):
        assert fold(left) != fold(right)

    def test_the_index_finds_what_comparing_all_with_all_finds(self):
        generator = random.Random(5)
        texts = [
            "".join(generator.choices("甲乙丙丁戊己", k=generator.randint(1, 14)))
            + generator.choice(["", "7"])
            for _ in range(400)
        ]
        distinct = list(dict.fromkeys(texts))
        slow = {
            text
            for at, text in enumerate(distinct)
            if any(
                jaccard(pairs(text), pairs(other)) >= 0.7 and values(text) == values(other)
                for other in distinct[:at]
            )
        }
        assert set(near_twins(texts, threshold=0.7)) == slow
        assert slow

    def test_a_template_filled_anew_is_no_near_duplicate(self):
        rows = [row(f"what does {word} mean in English", word) for word in "水桥"]
        rows += [row(f"how much is {number} times seven", "x", lang="en") for number in (8, 9, "six", "ten")]
        assert found("near_question", *rows) == []

    def test_questions_and_answers_are_each_looked_at(self):
        rows = [
            row("do you like the taste of pumpkin juice", "Yes, I like it very much indeed."),
            row("do you like the taste of pumpkin juice?!", "No."),
            row("so do you like the taste of pumpkin juice", "Yes, I like it very much, indeed!"),
            row("Do you like the taste of pumpkin juice", "no"),
        ]
        assert found("same_question", *rows) == [2, 4]
        assert found("near_question", *rows) == [3]
        assert found("same_answer", *rows) == [3, 4]
        assert found("duplicate", *rows) == [4]

    def test_an_answer_to_everything_is_worn(self):
        rows = [row(f"question {number}", "Ask me later.") for number in range(30)]
        assert len(found("worn_answer", *rows)) == 30
        assert found("worn_answer", *rows[:20]) == []


class TestForm:
    def test_the_answer_is_in_the_language_of_the_label(self):
        rows = [
            row("你好", "I am fine, thank you.", lang="zh-CN"),
            row("你好", "我很好。", lang="zh-CN"),
            row("你好", "謝謝，說來話長。", lang="zh-CN"),
            row("翻译：我很好", "I am fine, thank you.", lang="zh-CN"),
            row("你好", "I am fine, thank you.", lang=None),
            row("what is that", "这是一只猫。", lang="en"),
        ]
        assert found("language", *rows) == [1, 3, 5, 6]

    def test_one_character_of_the_other_script_is_found(self):
        rows = [row("他在哪里", "他在屋子裡，我看见了。", lang="zh-CN"), row("谁", "是谢朓。", lang="zh-CN")]
        assert found("mixed_script", *rows) == [1]

    @pytest.mark.parametrize("text", ["我不知道，" * 4, "ha ha " * 5, ("甲乙丙丁戊己庚辛" + "，壬") * 7])
    def test_a_loop_is_found(self, text):
        assert loop(text)

    @pytest.mark.parametrize(
        "text", ["-------------------", "行路难，行路难，多歧路，今安在？", "哈哈哈哈哈", "A plain sentence."]
    )
    def test_a_rule_a_poem_and_a_laugh_are_no_loops(self, text):
        assert loop(text) is None

    def test_an_answer_is_cut_only_where_its_neighbours_end(self):
        assert are_cut(["Yes.", "No!", "And then", "好。", "😀"]) == [False, False, True, False, False]
        assert are_cut(["doctor", "cat", "dog", "Yes."]) == [False] * 4

    @pytest.mark.parametrize("text", ["（笑", 'he said "no', "《静夜思", "“好」", "好）"])
    def test_an_open_bracket_is_found(self, text):
        assert unbalanced(text)

    @pytest.mark.parametrize(
        "text", ["（笑）好", 'he said "no"', "1) a\n2) b", "fine :)", "`f(`", "《a》「b」“c”"]
    )
    def test_lists_smiles_and_code_are_balanced(self, text):
        assert unbalanced(text) is None


class TestVoice:
    def test_first_and_third_person_are_told_apart(self):
        rows = [row("q", "I like it."), row("q", "哈利喜欢它。", lang="zh-CN"), row("q", "Seven.")]
        finding = findings(rows)["first_person"]
        assert (finding.count, [hit.place for hit in finding.hits]) == (1, [2, 3])
        assert finding.is_broken
        assert found("third_person", *rows) == [2]

    def test_the_world_outside_counts_unless_the_question_brought_it(self):
        rows = [
            row("who are you", "I am the hero of a series of novels."),
            row("have you read the novel", "I do not read a novel at night."),
            row("你是谁", "我是小说里的人物。", lang="zh-CN"),
        ]
        assert found("meta", *rows) == [1, 3]

    def test_whoever_is_asked_may_say_that_it_is_a_machine(self):
        rows = [
            row("how was your day", "As an AI, I have no days."),
            row("are you a robot", "I am a program that plays Harry."),
            row("今天好吗", "作为人工智能，我没有今天。", lang="zh-CN"),
        ]
        assert found("ai_disclosure", *rows) == [1, 3]

    def test_refusals_are_found_in_both_languages(self):
        rows = [
            row("q", "I'm sorry, but I cannot answer that."),
            row("q", "抱歉，我无法回答这个问题。", lang="zh-CN"),
            row("q", "Sorry I am late."),
        ]
        assert found("refusal", *rows) == [1, 2]

    def test_a_general_corpus_has_no_voice_to_keep(self):
        names = findings([row("q", "As an AI, I cannot help.")], Context())
        assert "first_person" not in names
        assert "meta" not in names
        assert names["ai_disclosure"].bound is None

    def test_an_anachronism_counts_unless_the_question_brought_it(self):
        poet = Context(persona="li_bai", anachronisms=("bus", "telephone", "手机"))
        rows = [
            row("how do you travel", "By bus, or I telephone."),
            row("what is a telephone", "A telephone? I know none."),
            row("怎么联系", "打我手机。", lang="zh-CN"),
            row("how are you", "A bushel of wine a day."),
        ]
        assert found("anachronism", *rows, context=poet) == [1, 3]
        assert "anachronism" not in findings(rows)


class TestNames:
    def test_invented_names_and_titles_are_found(self):
        rows = [
            row("q", "I met Hagrid there. He knew Tabbins."),
            row("q", "我读《魔法年鉴》，不读《预言家日报》。", lang="zh-CN"),
            row("q", "我认识丽莎·塔比和罗恩·韦斯莱。", lang="zh-CN"),
        ]
        hits = findings(rows)["unknown_name"].hits
        assert [hit.text.split(":")[0] for hit in hits] == ["Tabbins", "魔法年鉴", "丽莎·塔比"]

    def test_a_name_may_be_disowned_taken_up_from_an_introduction_or_told(self):
        rows = [
            row("do you know Tabbins", "I never met Tabbins."),
            row("do you know Tabbins", "I do, Tabbins is here."),
            row("I'm Mirabel", "Well met, Mirabel."),
            Row(1, (("who", "It is Bram."),), lang="en", told="Bram keeps the light."),
        ]
        assert found("unknown_name", *rows) == [2]

    def test_rows_about_another_topic_vouch_for_a_name(self):
        rows = (row("q", "I saw Dobby.", topic="T-1"), row("q", "Then Dobby came.", topic="T-2"))
        context = Context(persona="harry", project=rows, is_ours=True)
        assert found("unknown_name", *rows, context=context) == []
        assert found(
            "unknown_name", rows[0], context=Context(persona="harry", project=rows[:1], is_ours=True)
        ) == [1]


class TestLeaks:
    PROBES = (
        Probe("p-1", "T-1", ("what shape does your patronus have",)),
        Probe("p-2", "T-2", ("你好吗", "那另一个呢，你们三人里的女生叫啥")),
    )

    def leaks(self, *rows):
        return found("leak", *rows, context=Context(probes=self.PROBES))

    def test_the_same_words_leak_whatever_the_topic(self):
        assert self.leaks(row("What shape does your Patronus have?!", "A stag.", topic="T-9")) == [1]

    def test_nearly_the_same_words_leak_within_the_topic(self):
        near = "what shape does your patronus take"
        assert self.leaks(row(near, "A stag."), row(near, "A stag.", topic="T-9")) == [1]

    def test_an_earlier_turn_of_a_row_leaks_too(self):
        turns = (("你好吗", "好。"), ("那另一个呢 你们三人里的女生叫啥", "赫敏。"))
        assert self.leaks(row("谢谢", "不客气。", before=turns, topic="T-9")) == [1]
        assert self.leaks(row("你好吗", "好。")) == []


class TestAlignment:
    WORDS = ("moon", "river", "sword", "horse", "snow", "lamp", "bridge", "tower", "garden", "winter")

    def rows(self, many=400):
        names = [f"{word}{number}" for number in range(many // 10) for word in self.WORDS]
        random.Random(1).shuffle(names)
        return [f"tell me about {name}" for name in names], [f"{name} is what I love" for name in names]

    def test_an_aligned_corpus_has_no_slide(self):
        assert slides(*self.rows()) == []

    @pytest.mark.parametrize("offset", [7, -48])
    def test_a_slid_block_is_found_with_its_offset_and_rows(self, offset):
        questions, answers = self.rows()
        size = abs(offset)
        block = answers[100:200]
        answers[100:200] = (
            block[size:] + ["no answer"] * size if offset < 0 else ["none"] * size + block[:-size]
        )
        (slide,) = slides(questions, answers)
        assert slide.offset == offset
        assert slide.rows == range(100, 200)

    def test_two_blocks_are_two(self):
        questions, answers = self.rows()
        for first in (50, 250):
            answers[first : first + 60] = ["none", *answers[first : first + 59]]
        assert [slide.rows for slide in slides(questions, answers)] == [range(50, 110), range(250, 310)]

    def test_answers_that_share_nothing_with_their_questions_say_nothing(self):
        questions, _ = self.rows()
        assert slides(questions, ["Yes.", "No."] * 200) == []

    @pytest.mark.skipif(not CAMELBELL.is_file(), reason="the workshop's shared data is not here")
    def test_the_slid_block_of_camelbell_is_found(self):
        """198 rows, 957 to 1154 from 0: 48 questions without answers were put in, and the rest slid."""
        rows = read_corpus(CAMELBELL).rows
        (slide,) = slides([one.question for one in rows], [one.answer for one in rows])
        assert slide.offset == -48
        assert [rows[at].place for at in slide.rows] == list(range(957, 1155))


class TestFinding:
    def test_a_bound_is_a_most_or_a_least(self):
        assert Bound(0.02).allows(0.02)
        assert not Bound(0.5, is_least=True).allows(0.49)
        assert (str(Bound(0.005)), str(Bound(0.5, is_least=True))) == ("≤ 0.5 %", "≥ 50 %")

    def test_without_a_bound_nothing_is_broken(self):
        assert not Finding("near_question", 9, 9, None, ()).is_broken
        assert Finding("x", 0, 0, Bound(0), ()).share == 0

    def test_every_check_reports_once_and_unreadable_rows_first(self):
        rows = [{"question": "a", "answer": "b"}, {}]
        corpus = parse_corpus(json.dumps(rows))
        context = Context("harry", anachronisms=("bus",), names=("Harry",), probes=TestLeaks.PROBES)
        names = [finding.check for finding in check(corpus, context)]
        assert names == ["unreadable", *CHECKS]
