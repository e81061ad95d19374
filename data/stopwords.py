"""Words of questions, sums and small talk: they say nothing of what a text is about; pure."""

from __future__ import annotations

import re

from data.search import tokens

__all__ = ["FUNCTION", "NUMERALS", "STOP", "is_sum"]

SIGN_WORD = re.compile(r"[加减減乘除]|\b(?:add|and|divided|minus|plus|times)\b", re.IGNORECASE)
SMALL_NUMBER = re.compile(r"(?<![0-9])[0-9]{1,3}(?![0-9])")

ENGLISH = (
    "good later see today tonight tomorrow yesterday night day a about all an and any are at be by "
    "can come could did do does for from get go had has have hello hey hi how i in into is it know "
    "like make many me mean more much my now of off ok on or our people please really say so take "
    "tell than thank thanks that the their them then there they thing think this time to together too "
    "u up us very was we well were what when where which who why word write wrote will "
    "with would yeah yes you your im dont its id ll ve re s t d name called "
    "real person life hows "
)
# Pairs, as `data.search` cuts running Han text.
CHINESE = (
    "什么 甚麼 什麼 是谁 是誰 你的 你是 我的 我是 我想 知道 怎么 怎麼 为什 為什 告诉 "
    "告訴 诉我 訴我 一下 可以 请问 請問 哪里 哪裡 多少 几个 幾個 一个 一個 有没 有沒 "
    "没有 沒有 说说 說說 这个 這個 那个 那個 是不 不是 你好 谢谢 謝謝 再见 再見 晚安 "
    "今天 现在 現在 觉得 覺得 喜欢 喜歡 么样 麼樣 叫什 是什 了吗 了嗎 的吗 的嗎 你觉 "
    "你覺 你喜 今晚 明天 昨天 好累 你知 你会 你會 会不 會不 能不 不能 讲讲 講講 介绍 "
    "介紹 绍一 紹一 讲一 說一 说一 跟我 给我 意思 起来 起來 人生 "
)
NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty plus minus times left "
)
NUMBER_WORD = re.compile(
    rf"[0-9]+|[零一二三四五六七八九十百两兩]+|\b(?:{'|'.join(NUMBERS.split()[:20])})\b", re.IGNORECASE
)
STOP = frozenset(tokens(f"{ENGLISH} {CHINESE} {NUMBERS}"))
# A pair of these is the number of a sum.
NUMERALS = frozenset("零一二三四五六七八九十百千两兩")
# Characters of grammar: a pair with one of them was cut across two words.
FUNCTION = frozenset("的了吗呢吧呀啊么是你我他她它们在有和与跟很也就还不没嗎麼們與還沒這那这")


def is_sum(text: str) -> bool:
    """Whether it asks to reckon, whatever it counts: two small numbers, or two number words and a sign's."""
    if len(SMALL_NUMBER.findall(text)) > 1:
        return True
    return len(NUMBER_WORD.findall(text)) > 1 and SIGN_WORD.search(text) is not None
