"""Words that give a corpus away: the world outside the persona's, the machine, the refusal; pure.

What a question brought up may be answered: a word that stands in the row's questions does not count against
its answers, and whoever is asked whether they are a machine may say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from data.checks.rows import Row

__all__ = ["discloses_ai", "has_first_person", "phrases", "refusal", "unasked"]

META = re.compile(
    r"\b(?:novels?|films?|movies?|authors?|actors?|actress(?:es)?|fictional|fan ?fiction|protagonists?"
    r"|(?:main|book|film) characters?|book series|the series|Rowling|Hollywood|Daniel Radcliffe)\b"
    "|小说|小說|电影|電影|影片|作者|演员|演員|主角|原著|系列|虚构|虛構|同人|罗琳|羅琳|剧情|劇情",
    re.IGNORECASE,
)
AI = re.compile(
    r"\b(?:as an? (?:AI|artificial|language)|(?:large )?language models?|artificial intelligence"
    r"|AI (?:model|assistant)s?|chat ?bots?|chatGPT|openAI"
    r"|(?:I am|I['’]m)(?: \w+){0,5} (?:AI|bot|robot|program|machine|model|software))\b"
    "|人工智能|人工智慧|语言模型|語言模型|大模型|智能助手|聊天机器人|聊天機器人|ChatGPT|OpenAI"
    "|(?:我|本人)(?:只|不过|不過|就|其实|其實)?是[^。！？，,.]{0,12}(?:程序|程式|机器|機器|模型|AI)",
    re.IGNORECASE,
)
# What a sincere question about the machine says; wide, since an answer to any of these may be honest.
ASKED_OF_AI = re.compile(
    r"\b(?:AIs?|(?:chat)?bots?|robots?|humans?|machines?|programs?|programmed|computers?|models?|\w*GPT"
    r"|software|algorithms?|code|coded|real|really|alive|living|person|people|pretend\w*|play\w*"
    r"|act(?:ing|or)?|made|makes?|maker|built|created?|creator|trained|training|developers?|circuits"
    r"|who are you|what are you|artificial|role|character|fake|flesh|actual|swear)\b"
    "|AI|GPT|人工|智能|智慧|机器|機器|程序|程式|模型|电脑|電腦|算法|演算法|代码|真人|活人|真的|本人|真实|真實"
    "|假的|扮演|角色|冒充|装|裝|谁做|誰做|开发|開發|训练|訓練|制造|製造|创造|創造|你是谁|你是誰|什么东西|什麼東西"
    "|是人|人类|人類|血肉|有血|真身|真面目",
    re.IGNORECASE,
)
REFUSAL = re.compile(
    r"\b(?:I['’]m (?:very |so |really )?(?:sorry|afraid)|sorry|apologi[sz]e|unfortunately)\b[^.!?]{0,60}"
    r"\b(?:can['’]?t|cannot|unable|not able|won['’]t|don['’]t have)\b"
    r"|\bI (?:can['’]t|cannot|can not|won['’]t|am unable to|am not able to)"
    r" (?:help|assist|answer|provide|discuss|comply|fulfil|do that|respond)\b"
    r"|^\s*(?:很|非常|十分|真的?)?(?:抱歉|对不起|對不起)"
    "|(?:抱歉|对不起|對不起|不好意思)[^。！？]{0,30}(?:不能|无法|無法|没办法|沒辦法|不可以|没有|沒有|不知道)"
    "|(?:我|您的|你的)[^。！？，]{0,10}(?:无法|無法|不能)"
    "(?:回答|提供|帮|幫|协助|協助|满足|滿足|讨论|討論|完成|给出|給出)",
    re.IGNORECASE,
)
FIRST_PERSON = re.compile(
    r"\b(?:I|me|my|mine|myself|we|us|our|ours)\b|[我吾俺咱朕]|在下|某家|老夫|本人", re.IGNORECASE
)


def unasked(row: Row, pattern: re.Pattern[str] = META) -> str | None:
    """The first match in the answers that no question of the row holds."""
    asked = row.asked.casefold()
    for found in pattern.finditer(row.replies):
        if found[0].casefold() not in asked:
            return found[0]
    return None


def discloses_ai(row: Row) -> str | None:
    """What calls the speaker a machine where nobody asked."""
    found = AI.search(row.replies)
    return found[0] if found and not ASKED_OF_AI.search(row.asked) else None


def refusal(row: Row) -> str | None:
    found = REFUSAL.search(row.replies)
    return found[0] if found else None


def has_first_person(text: str) -> bool:
    return FIRST_PERSON.search(text) is not None


def phrases(words: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern of a lexicon's words; Latin ones end at word borders, Han ones stand anywhere."""
    found: Sequence[str] = [
        rf"\b{re.escape(word)}s?\b" if word.isascii() else re.escape(word)
        for word in sorted(set(words), key=lambda word: (-len(word), word))
    ]
    return re.compile("|".join(found), re.IGNORECASE) if found else None
