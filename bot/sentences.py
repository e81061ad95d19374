"""Everything the bot itself says to people, in three languages; personas speak for themselves."""

from __future__ import annotations

from collections.abc import Mapping

from data.script import Lang

__all__ = ["MENU", "REASONS", "SENTENCES", "button", "sentence"]

# The reasons a person can give after a thumb down, in the order of their buttons.
REASONS = ("wrong_fact", "out_of_voice", "boring", "unsafe", "other")

SENTENCES: Mapping[str, Mapping[Lang, str]] = {
    "empty": {
        "en": "I got an empty message. Write me a sentence and I will answer.",
        "zh-CN": "我收到的是一条空消息。写一句话给我，我就回答。",
        "zh-TW": "我收到的是一則空訊息。寫一句話給我，我就回答。",
    },
    "too_long": {
        "en": "That message is too long for me: at most {most} characters. Please send it in smaller pieces.",
        "zh-CN": "这条消息太长了，最多 {most} 个字。请分成几段发给我。",
        "zh-TW": "這則訊息太長了，最多 {most} 個字。請分成幾段傳給我。",
    },
    "busy": {
        "en": "Your earlier messages are still waiting for an answer. Please write again in a moment.",
        "zh-CN": "你前面的消息还在排队等回答，请稍后再发。",
        "zh-TW": "你前面的訊息還在排隊等回答，請稍後再傳。",
    },
    "engine_busy": {
        "en": "Many people are talking to {name} right now. Your answer will come, a little later.",
        "zh-CN": "现在和{name}聊天的人很多。你会收到回答，只是要多等一会儿。",
        "zh-TW": "現在和{name}聊天的人很多。你會收到回答，只是要多等一會兒。",
    },
    "resting": {
        "en": "{name} is resting for a moment. Your message is kept; the answer comes as soon as possible.",
        "zh-CN": "{name}正在休息。你的消息已经记下，会尽快回答。",
        "zh-TW": "{name}正在休息。你的訊息已經記下，會盡快回答。",
    },
    "given_up": {
        "en": "{name} is still resting and could not answer. Please ask again later.",
        "zh-CN": "{name}还在休息，这次没能回答。请过一会儿再问。",
        "zh-TW": "{name}還在休息，這次沒能回答。請過一會兒再問。",
    },
    "speechless": {
        "en": "{name} found no words this time. Please ask in another way.",
        "zh-CN": "{name}一时无话可说。请换个方式再问一次。",
        "zh-TW": "{name}一時無話可說。請換個方式再問一次。",
    },
    "failed": {
        "en": "Something went wrong here and this message stays unanswered (number {id}). Please ask again.",
        "zh-CN": "这里出了点问题，这条消息没能回答（编号 {id}）。请再问一次。",
        "zh-TW": "這裡出了點問題，這則訊息沒能回答（編號 {id}）。請再問一次。",
    },
    "persona_list": {
        "en": "You are talking with {name}. Also here: {others}. To change: /persona NAME",
        "zh-CN": "现在和你聊天的是{name}。还有：{others}。换人请用 /persona 名字",
        "zh-TW": "現在和你聊天的是{name}。還有：{others}。換人請用 /persona 名字",
    },
    "persona_set": {
        "en": "From now on {name} answers here.",
        "zh-CN": "从现在起，这里由{name}来回答。",
        "zh-TW": "從現在起，這裡由{name}來回答。",
    },
    "persona_unknown": {
        "en": "I know nobody called “{asked}”. Here are: {others}.",
        "zh-CN": "我不认识“{asked}”。这里有：{others}。",
        "zh-TW": "我不認識「{asked}」。這裡有：{others}。",
    },
    "reset": {
        "en": "A new conversation begins. What was said before stays out of it.",
        "zh-CN": "新的对话开始了，之前说过的不再算在内。",
        "zh-TW": "新的對話開始了，之前說過的不再算在內。",
    },
    "help": {
        "en": (
            "Write to me and {name} answers; in a group, mention me or reply to me.\n"
            "/persona – see who is here, or change who answers\n/reset – begin a new conversation\n"
            "/help – this text\nA thumb under an answer helps {name} to get better."
        ),
        "zh-CN": (
            "写信息给我，{name}就会回答；在群里请提到我，或者回复我的消息。\n"
            "/persona – 看看都有谁，或者换人\n/reset – 开始新的对话\n/help – 显示这段说明\n"
            "点一下回答下面的拇指，{name}会越来越好。"
        ),
        "zh-TW": (
            "寫訊息給我，{name}就會回答；在群組裡請提到我，或者回覆我的訊息。\n"
            "/persona – 看看都有誰，或者換人\n/reset – 開始新的對話\n/help – 顯示這段說明\n"
            "點一下回答下面的拇指，{name}會越來越好。"
        ),
    },
    "terminal": {
        "en": "Write, and press Enter. u or d rates the last answer; /reset, /help, /quit.",
        "zh-CN": "写一句话，按回车。u 或 d 评价上一条回答；/reset、/help、/quit。",
        "zh-TW": "寫一句話，按 Enter。u 或 d 評價上一則回答；/reset、/help、/quit。",
    },
    "nothing_to_choose": {
        "en": "There is nothing to rate or choose here yet.",
        "zh-CN": "这里还没有可以评价或选择的。",
        "zh-TW": "這裡還沒有可以評價或選擇的。",
    },
    "command_unknown": {
        "en": "I do not know this command. /help shows what I can do.",
        "zh-CN": "我不认识这个命令。/help 会告诉你我能做什么。",
        "zh-TW": "我不認識這個指令。/help 會告訴你我能做什麼。",
    },
    "thumb_up": {
        "en": "Thank you, your thumb is stored.",
        "zh-CN": "谢谢，你的评价已经记下。",
        "zh-TW": "謝謝，你的評價已經記下。",
    },
    "thumb_down": {
        "en": "Thank you, your thumb is stored. What was wrong? (You may skip this.)",
        "zh-CN": "谢谢，你的评价已经记下。哪里不好？（可以不选）",
        "zh-TW": "謝謝，你的評價已經記下。哪裡不好？（可以不選）",
    },
    "reason": {
        "en": "Thank you, that helps.",
        "zh-CN": "谢谢，这很有帮助。",
        "zh-TW": "謝謝，這很有幫助。",
    },
    "no_reply": {
        "en": "This answer can no longer be rated.",
        "zh-CN": "这条回答已经不能评价了。",
        "zh-TW": "這則回答已經不能評價了。",
    },
    "no_vote": {
        "en": "Give the answer a thumb first, then the reason.",
        "zh-CN": "请先给这条回答一个拇指，再说原因。",
        "zh-TW": "請先給這則回答一個拇指，再說原因。",
    },
    "bots_do_not_vote": {
        "en": "Only people can rate answers.",
        "zh-CN": "只有人可以评价回答。",
        "zh-TW": "只有人可以評價回答。",
    },
    "consent": {
        "en": (
            "Your thumb is stored. One question, asked once: may this chat help to train the persona? "
            "“Only the vote” keeps your thumb without what you wrote. You can change it at any time."
        ),
        "zh-CN": (
            "你的评价已经记下。只问一次：这段聊天可以用来训练这个角色吗？"
            "“只用评价”表示只用你的拇指，不用你写的内容。以后随时可以改。"
        ),
        "zh-TW": (
            "你的評價已經記下。只問一次：這段聊天可以用來訓練這個角色嗎？"
            "「只用評價」表示只用你的拇指，不用你寫的內容。以後隨時可以改。"
        ),
    },
    "consent_yes": {
        "en": "Thank you! Chats that you rate may help to train the persona.",
        "zh-CN": "谢谢！你评价过的聊天可以用来训练角色。",
        "zh-TW": "謝謝！你評價過的聊天可以用來訓練角色。",
    },
    "consent_no": {
        "en": "All right: nothing of yours is used for training.",
        "zh-CN": "好的：你的内容都不会用于训练。",
        "zh-TW": "好的：你的內容都不會用於訓練。",
    },
    "consent_vote": {
        "en": "All right: only your votes are used, not what you wrote.",
        "zh-CN": "好的：只用你的评价，不用你写的内容。",
        "zh-TW": "好的：只用你的評價，不用你寫的內容。",
    },
}

_BUTTONS: Mapping[str, Mapping[Lang, str]] = {
    "yes": {"en": "Yes", "zh-CN": "可以", "zh-TW": "可以"},
    "no": {"en": "No", "zh-CN": "不可以", "zh-TW": "不可以"},
    "vote": {"en": "Only the vote", "zh-CN": "只用评价", "zh-TW": "只用評價"},
    "wrong_fact": {"en": "Wrong fact", "zh-CN": "事实有错", "zh-TW": "事實有錯"},
    "out_of_voice": {"en": "Out of character", "zh-CN": "不像本人", "zh-TW": "不像本人"},
    "boring": {"en": "Boring", "zh-CN": "无聊", "zh-TW": "無聊"},
    "unsafe": {"en": "Unsafe", "zh-CN": "不妥当", "zh-TW": "不妥當"},
    "other": {"en": "Something else", "zh-CN": "其他", "zh-TW": "其他"},
}

# Commands with what the platforms' menus say about them.
MENU: Mapping[Lang, tuple[tuple[str, str], ...]] = {
    "en": (
        ("persona", "See who is here, or change who answers"),
        ("reset", "Begin a new conversation"),
        ("help", "What I can do"),
    ),
    "zh-CN": (("persona", "看看都有谁，或者换人"), ("reset", "开始新的对话"), ("help", "我能做什么")),
    "zh-TW": (("persona", "看看都有誰，或者換人"), ("reset", "開始新的對話"), ("help", "我能做什麼")),
}


def sentence(name: str, lang: Lang, /, **values: object) -> str:
    return SENTENCES[name][lang].format(**values)


def button(name: str, lang: Lang) -> str:
    return _BUTTONS[name][lang]
