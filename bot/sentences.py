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
            "/privacy – what I keep of you, and your choice\n/forget – erase it\n"
            "/help – this text\nA thumb under an answer helps {name} to get better."
        ),
        "zh-CN": (
            "写信息给我，{name}就会回答；在群里请提到我，或者回复我的消息。\n"
            "/persona – 看看都有谁，或者换人\n/reset – 开始新的对话\n"
            "/privacy – 我记下的内容，和你的选择\n/forget – 全部删除\n/help – 显示这段说明\n"
            "点一下回答下面的拇指，{name}会越来越好。"
        ),
        "zh-TW": (
            "寫訊息給我，{name}就會回答；在群組裡請提到我，或者回覆我的訊息。\n"
            "/persona – 看看都有誰，或者換人\n/reset – 開始新的對話\n"
            "/privacy – 我記下的內容，和你的選擇\n/forget – 全部刪除\n/help – 顯示這段說明\n"
            "點一下回答下面的拇指，{name}會越來越好。"
        ),
    },
    "terminal": {
        "en": "Write and press Enter. u or d rates the last answer; /reset, /privacy, /forget, /help, /quit.",
        "zh-CN": "写一句话，按回车。u 或 d 评价上一条回答；/reset、/privacy、/forget、/help、/quit。",
        "zh-TW": "寫一句話，按 Enter。u 或 d 評價上一則回答；/reset、/privacy、/forget、/help、/quit。",
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
    "privacy": {
        "en": (
            "What I keep of you: what you write here and what I answer, your thumbs and their reasons, whom "
            "you chose to talk to, and your answer to one question: may chats that you rate help to train "
            "the personas? {answer} You can change it now. /forget erases everything."
        ),
        "zh-CN": (
            "我记下的有：你在这里写的和我的回答、你的评价和原因、你选了和谁聊，还有你对一个问题的回答："
            "你评价过的聊天可以用来训练角色吗？{answer}现在就可以改。/forget 会全部删除。"
        ),
        "zh-TW": (
            "我記下的有：你在這裡寫的和我的回答、你的評價和原因、你選了和誰聊，還有你對一個問題的回答："
            "你評價過的聊天可以用來訓練角色嗎？{answer}現在就可以改。/forget 會全部刪除。"
        ),
    },
    "privacy_yes": {
        "en": "Your answer now: yes.",
        "zh-CN": "你现在的回答是：可以。",
        "zh-TW": "你現在的回答是：可以。",
    },
    "privacy_no": {
        "en": "Your answer now: no, so nothing of yours is used.",
        "zh-CN": "你现在的回答是：不可以，所以你的内容都不会用到。",
        "zh-TW": "你現在的回答是：不可以，所以你的內容都不會用到。",
    },
    "privacy_vote": {
        "en": "Your answer now: only the vote, not what you wrote.",
        "zh-CN": "你现在的回答是：只用评价，不用你写的内容。",
        "zh-TW": "你現在的回答是：只用評價，不用你寫的內容。",
    },
    "privacy_asked": {
        "en": "You have not answered yet, so nothing of yours is used.",
        "zh-CN": "你还没有回答，所以你的内容都不会用到。",
        "zh-TW": "你還沒有回答，所以你的內容都不會用到。",
    },
    "forget": {
        "en": (
            "Shall I erase everything that I keep of you here: what you wrote, what I answered you, your "
            "votes and your choices? What I answered others stays. It cannot be undone."
        ),
        "zh-CN": (
            "要删除我在这里记下的关于你的一切吗：你写的、我给你的回答、你的评价和选择？"
            "我给别人的回答会留下。删除后无法恢复。"
        ),
        "zh-TW": (
            "要刪除我在這裡記下的關於你的一切嗎：你寫的、我給你的回答、你的評價和選擇？"
            "我給別人的回答會留下。刪除後無法恢復。"
        ),
    },
    "forgotten": {
        "en": (
            "Everything that I kept of you here is erased. What a persona learnt from it goes with its next "
            "rebuild. If you write again, we begin anew."
        ),
        "zh-CN": (
            "我在这里记下的关于你的一切都已删除，角色从中学到的会在下一次重新训练时去掉。"
            "再写给我，就是新的开始。"
        ),
        "zh-TW": (
            "我在這裡記下的關於你的一切都已刪除，角色從中學到的會在下一次重新訓練時去掉。"
            "再寫給我，就是新的開始。"
        ),
    },
    "forget_kept": {
        "en": "All right, everything stays as it is.",
        "zh-CN": "好的，一切照旧。",
        "zh-TW": "好的，一切照舊。",
    },
    "forget_not_yours": {
        "en": "That question was not for you. Write /forget if you want to be forgotten.",
        "zh-CN": "这个问题不是问你的。想让我忘记你，请发 /forget。",
        "zh-TW": "這個問題不是問你的。想讓我忘記你，請傳 /forget。",
    },
    "in_private": {
        "en": "That is between the two of us: write {command} to me in a private chat.",
        "zh-CN": "这是我们两个之间的事：请在私聊里给我发 {command}。",
        "zh-TW": "這是我們兩個之間的事：請在私訊裡傳 {command} 給我。",
    },
    "review_moderators": {
        "en": "Only moderators can review answers.",
        "zh-CN": "只有管理员可以审阅回答。",
        "zh-TW": "只有管理員可以審閱回答。",
    },
    "review_none": {
        "en": "Nothing is waiting to be reviewed. Judged by you so far: {judged}.",
        "zh-CN": "没有等待审阅的回答了。你已经审阅了 {judged} 条。",
        "zh-TW": "沒有等待審閱的回答了。你已經審閱了 {judged} 則。",
    },
    "review_paused": {
        "en": "Given back: others may judge it now. Judged by you so far: {judged}.",
        "zh-CN": "已经放回，别人现在可以审阅它。你已经审阅了 {judged} 条。",
        "zh-TW": "已經放回，別人現在可以審閱它。你已經審閱了 {judged} 則。",
    },
    "review_taken": {
        "en": "That answer is no longer yours to judge; your judgement was not stored.",
        "zh-CN": "那条回答已经不归你审阅，这次的判断没有记下。",
        "zh-TW": "那則回答已經不歸你審閱，這次的判斷沒有記下。",
    },
    "review_stored": {
        "en": "Stored, thank you.",
        "zh-CN": "已经记下，谢谢。",
        "zh-TW": "已經記下，謝謝。",
    },
    "review_card": {
        "en": "{name} – waiting: {waiting}, judged by you: {judged}",
        "zh-CN": "{name}——等待审阅 {waiting} 条，你已审阅 {judged} 条",
        "zh-TW": "{name}——等待審閱 {waiting} 則，你已審閱 {judged} 則",
    },
    "review_which": {
        "en": "Which answer is better?",
        "zh-CN": "哪条回答更好？",
        "zh-TW": "哪則回答更好？",
    },
    "review_rewrite": {
        "en": "What should the answer have been? Write it as {name} would say it.",
        "zh-CN": "这条回答应该怎么说？请写成{name}会说的话。",
        "zh-TW": "這則回答應該怎麼說？請寫成{name}會說的話。",
    },
    "review_resting": {
        "en": "No other answer can be written just now; please try again in a moment.",
        "zh-CN": "现在写不出另一条回答，请过一会儿再试。",
        "zh-TW": "現在寫不出另一則回答，請過一會兒再試。",
    },
    "review_same": {
        "en": "There is no other answer: the same words came again, or what was asked is no longer kept.",
        "zh-CN": "没有另一条回答：要么又是同样的话，要么当时的问题已经不再保存。",
        "zh-TW": "沒有另一則回答：要麼又是同樣的話，要麼當時的問題已經不再保存。",
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
    "forget_everything": {"en": "Forget everything", "zh-CN": "全部忘记", "zh-TW": "全部忘記"},
    "forget_keep": {"en": "Keep", "zh-CN": "保留", "zh-TW": "保留"},
    "review_good": {"en": "Good", "zh-CN": "好", "zh-TW": "好"},
    "review_bad": {"en": "Bad", "zh-CN": "不好", "zh-TW": "不好"},
    "review_rewrite": {"en": "Rewrite", "zh-CN": "改写", "zh-TW": "改寫"},
    "review_again": {"en": "Another", "zh-CN": "再来一条", "zh-TW": "再來一則"},
    "review_skip": {"en": "Skip", "zh-CN": "跳过", "zh-TW": "跳過"},
    "review_better": {"en": "{letter} is better", "zh-CN": "{letter} 更好", "zh-TW": "{letter} 更好"},
    "review_neither": {"en": "Neither", "zh-CN": "都不好", "zh-TW": "都不好"},
}

# Commands with what the platforms' menus say about them.
MENU: Mapping[Lang, tuple[tuple[str, str], ...]] = {
    "en": (
        ("persona", "See who is here, or change who answers"),
        ("reset", "Begin a new conversation"),
        ("privacy", "What I keep of you, and your choice"),
        ("forget", "Erase what I keep of you"),
        ("help", "What I can do"),
        ("review", "For moderators: judge answers"),
    ),
    "zh-CN": (
        ("persona", "看看都有谁，或者换人"),
        ("reset", "开始新的对话"),
        ("privacy", "我记下的内容，和你的选择"),
        ("forget", "删除我记下的关于你的内容"),
        ("help", "我能做什么"),
        ("review", "管理员用：审阅回答"),
    ),
    "zh-TW": (
        ("persona", "看看都有誰，或者換人"),
        ("reset", "開始新的對話"),
        ("privacy", "我記下的內容，和你的選擇"),
        ("forget", "刪除我記下的關於你的內容"),
        ("help", "我能做什麼"),
        ("review", "管理員用：審閱回答"),
    ),
}


def sentence(name: str, lang: Lang, /, **values: object) -> str:
    return SENTENCES[name][lang].format(**values)


def button(name: str, lang: Lang, /, **values: object) -> str:
    return _BUTTONS[name][lang].format(**values)
