"""The page's own words, in three languages; what the bot says in every place is in `bot.sentences`."""

from __future__ import annotations

from collections.abc import Mapping

from data.script import Lang

__all__ = ["LANG_NAMES", "WORDS", "words"]

LANG_NAMES: Mapping[Lang, str] = {"en": "English", "zh-CN": "简体中文", "zh-TW": "繁體中文"}

WORDS: Mapping[str, Mapping[Lang, str]] = {
    "title": {"en": "troupe", "zh-CN": "troupe", "zh-TW": "troupe"},
    "headline": {
        "en": "Who would you like to talk to?",
        "zh-CN": "今天想和谁聊聊？",
        "zh-TW": "今天想和誰聊聊？",
    },
    "lead": {
        "en": "Pick somebody and say hello. A thumb under an answer helps them to stay in character.",
        "zh-CN": "选一位，打个招呼。回答下面的拇指，会让他们越来越像自己。",
        "zh-TW": "選一位，打個招呼。回答下面的拇指，會讓他們越來越像自己。",
    },
    "talk": {"en": "Talk", "zh-CN": "去聊聊", "zh-TW": "去聊聊"},
    "nobody": {
        "en": "Nobody is here yet. Add a folder to personas and start again.",
        "zh-CN": "这里还没有人。在 personas 里加一个文件夹，再重新启动。",
        "zh-TW": "這裡還沒有人。在 personas 裡加一個資料夾，再重新啟動。",
    },
    "cast": {"en": "The troupe", "zh-CN": "全体成员", "zh-TW": "全體成員"},
    "back": {"en": "Back to the troupe", "zh-CN": "返回列表", "zh-TW": "返回列表"},
    "skip": {"en": "Skip to the message field", "zh-CN": "跳到输入框", "zh-TW": "跳到輸入框"},
    "language": {"en": "Language", "zh-CN": "语言", "zh-TW": "語言"},
    "conversation": {
        "en": "Conversation with {name}",
        "zh-CN": "和{name}的对话",
        "zh-TW": "和{name}的對話",
    },
    "openers": {"en": "Ways to begin", "zh-CN": "可以这样开始", "zh-TW": "可以這樣開始"},
    "write": {"en": "Write to {name}", "zh-CN": "写给{name}", "zh-TW": "寫給{name}"},
    "placeholder": {"en": "Write to {name} …", "zh-CN": "对{name}说点什么……", "zh-TW": "對{name}說點什麼……"},
    "send": {"en": "Send", "zh-CN": "发送", "zh-TW": "傳送"},
    "enter": {
        "en": "Enter sends, Shift + Enter starts a new line",
        "zh-CN": "按 Enter 发送，Shift + Enter 换行",
        "zh-TW": "按 Enter 傳送，Shift + Enter 換行",
    },
    "toy": {
        "en": "{name} is played by a language model, which makes things up.",
        "zh-CN": "{name}由语言模型扮演，说的话未必属实。",
        "zh-TW": "{name}由語言模型扮演，說的話未必屬實。",
    },
    "typing": {"en": "{name} is thinking …", "zh-CN": "{name}正在想……", "zh-TW": "{name}正在想……"},
    "you": {"en": "You", "zh-CN": "你", "zh-TW": "你"},
    "new": {"en": "New conversation", "zh-CN": "新的对话", "zh-TW": "新的對話"},
    "new_sure": {
        "en": "Begin a new conversation? What was said so far leaves this page.",
        "zh-CN": "开始新的对话吗？之前的内容会从这个页面移走。",
        "zh-TW": "開始新的對話嗎？之前的內容會從這個頁面移走。",
    },
    "privacy": {"en": "Your words and training", "zh-CN": "你的内容与训练", "zh-TW": "你的內容與訓練"},
    "privacy_question": {
        "en": "May chats that you rate help to train the personas?",
        "zh-CN": "你评价过的聊天，可以用来训练角色吗？",
        "zh-TW": "你評價過的聊天，可以用來訓練角色嗎？",
    },
    "kept": {"en": "What is kept of me", "zh-CN": "记下了我的什么", "zh-TW": "記下了我的什麼"},
    "forget": {"en": "Forget me …", "zh-CN": "忘记我……", "zh-TW": "忘記我……"},
    "up": {"en": "Good answer", "zh-CN": "答得好", "zh-TW": "答得好"},
    "down": {"en": "Bad answer", "zh-CN": "答得不好", "zh-TW": "答得不好"},
    "rate": {"en": "Rate this answer", "zh-CN": "评价这条回答", "zh-TW": "評價這則回答"},
    "why": {"en": "What was wrong?", "zh-CN": "哪里不好？", "zh-TW": "哪裡不好？"},
    "why_free": {
        "en": "In your own words (optional)",
        "zh-CN": "用你自己的话说（可以不填）",
        "zh-TW": "用你自己的話說（可以不填）",
    },
    "why_send": {"en": "Send reason", "zh-CN": "提交原因", "zh-TW": "送出原因"},
    "close": {"en": "Close", "zh-CN": "关闭", "zh-TW": "關閉"},
    "consent_title": {"en": "One question", "zh-CN": "一个小问题", "zh-TW": "一個小問題"},
    "prompt_only": {"en": "Prompt only", "zh-CN": "仅用提示词", "zh-TW": "僅用提示詞"},
    "prompt_only_why": {
        "en": "No adapter for this base model yet: {name} speaks by card and examples. To train one:",
        "zh-CN": "这个基础模型还没有适配器：{name}只靠人设和例句说话。训练一个：",
        "zh-TW": "這個基礎模型還沒有適配器：{name}只靠人設和例句說話。訓練一個：",
    },
    "offline": {
        "en": "The connection is lost. Trying again …",
        "zh-CN": "连接断开了，正在重试……",
        "zh-TW": "連線中斷了，正在重試……",
    },
    "stale": {
        "en": "This page is too old to send. Please load it again.",
        "zh-CN": "这个页面已经过期，请刷新后再发。",
        "zh-TW": "這個頁面已經過期，請重新整理後再傳。",
    },
    "wrong_press": {
        "en": "That button is not known here. Please load the page again.",
        "zh-CN": "这里没有这个按钮，请刷新页面。",
        "zh-TW": "這裡沒有這個按鈕，請重新整理頁面。",
    },
    "no_page": {
        "en": "There is no such page here.",
        "zh-CN": "这里没有这个页面。",
        "zh-TW": "這裡沒有這個頁面。",
    },
    "no_persona": {
        "en": "Nobody here goes by that name.",
        "zh-CN": "这里没有叫这个名字的人。",
        "zh-TW": "這裡沒有叫這個名字的人。",
    },
    "broken": {
        "en": "Something went wrong here. Please try again.",
        "zh-CN": "这里出了点问题，请再试一次。",
        "zh-TW": "這裡出了點問題，請再試一次。",
    },
    "needs_script": {
        "en": "This page needs JavaScript to show answers as they are written.",
        "zh-CN": "这个页面需要 JavaScript 才能显示回答。",
        "zh-TW": "這個頁面需要 JavaScript 才能顯示回答。",
    },
    "review_title": {"en": "Review", "zh-CN": "审阅", "zh-TW": "審閱"},
    "review_lead": {
        "en": "Every letter in a box is a key. What was said in private chats is never shown here.",
        "zh-CN": "方框里的字母就是按键。私聊里说过的话不会出现在这里。",
        "zh-TW": "方框裡的字母就是按鍵。私訊裡說過的話不會出現在這裡。",
    },
    "review_progress": {"en": "Progress", "zh-CN": "进度", "zh-TW": "進度"},
    "review_waiting": {
        "en": "waiting: {waiting}, judged by you: {judged}",
        "zh-CN": "等待 {waiting} 条，你已审阅 {judged} 条",
        "zh-TW": "等待 {waiting} 則，你已審閱 {judged} 則",
    },
    "review_said": {"en": "What was said before", "zh-CN": "之前说过的话", "zh-TW": "之前說過的話"},
    "review_reply": {"en": "The answer to judge", "zh-CN": "要审阅的回答", "zh-TW": "要審閱的回答"},
    "review_verdict": {"en": "Your judgement", "zh-CN": "你的判断", "zh-TW": "你的判斷"},
    "review_rewrite": {
        "en": "What {name} should have said",
        "zh-CN": "{name}本来应该这样说",
        "zh-TW": "{name}本來應該這樣說",
    },
    "review_keys": {
        "en": "Ctrl + Enter sends, Esc closes",
        "zh-CN": "按 Ctrl + Enter 提交，Esc 关闭",
        "zh-TW": "按 Ctrl + Enter 送出，Esc 關閉",
    },
    "review_pause": {"en": "Pause", "zh-CN": "先到这里", "zh-TW": "先到這裡"},
    "review_look": {"en": "Look again", "zh-CN": "再看一次", "zh-TW": "再看一次"},
    "entering": {"en": "One moment …", "zh-CN": "请稍候……", "zh-TW": "請稍候……"},
}


def words(name: str, lang: Lang, /, **values: object) -> str:
    return WORDS[name][lang].format(**values)
