"""What moderators read of a run and its gate, in three languages."""

from __future__ import annotations

from collections.abc import Mapping

from data.script import Lang

__all__ = ["WORDS", "word"]

WORDS: Mapping[str, Mapping[Lang, str]] = {
    "incremental": {
        "en": "{name}: a new version has learnt from votes (run {run}).",
        "zh-CN": "{name}：新版本从评价中学习完毕（运行 {run}）。",
        "zh-TW": "{name}：新版本從評價中學習完畢（執行 {run}）。",
    },
    "rebuild": {
        "en": "{name}: a version was built anew from the first one and the votes that are left (run {run}).",
        "zh-CN": "{name}：从最初的版本和留下的评价重新训练了一个版本（运行 {run}）。",
        "zh-TW": "{name}：從最初的版本和留下的評價重新訓練了一個版本（執行 {run}）。",
    },
    "passed": {
        "en": "The gate let it pass:",
        "zh-CN": "检查全部通过：",
        "zh-TW": "檢查全部通過：",
    },
    "stopped": {
        "en": "The gate stopped it:",
        "zh-CN": "检查没有通过：",
        "zh-TW": "檢查沒有通過：",
    },
    "check_passed": {
        "en": "✓ {title}: {before} → {after}",
        "zh-CN": "✓ {title}：{before} → {after}",
        "zh-TW": "✓ {title}：{before} → {after}",
    },
    "check_failed": {
        "en": "✗ {title}: {before} → {after}; {why}",
        "zh-CN": "✗ {title}：{before} → {after}；{why}",
        "zh-TW": "✗ {title}：{before} → {after}；{why}",
    },
    "check_unknown": {
        "en": "✗ {title}: too little was measured for a verdict ({asked})",
        "zh-CN": "✗ {title}：测得太少，无法判断（{asked}）",
        "zh-TW": "✗ {title}：測得太少，無法判斷（{asked}）",
    },
    "why_lost": {
        "en": "it may have lost {lost} points, and less than {margin} are allowed",
        "zh-CN": "可能下降了 {lost} 个百分点，允许的不到 {margin}",
        "zh-TW": "可能下降了 {lost} 個百分點，允許的不到 {margin}",
    },
    "why_floor": {
        "en": "that is less than any version must have",
        "zh-CN": "低于任何版本都必须达到的水平",
        "zh-TW": "低於任何版本都必須達到的水準",
    },
    "why_chance": {
        "en": "that is not surely more than chance",
        "zh-CN": "不能确定比碰运气好",
        "zh-TW": "不能確定比碰運氣好",
    },
    "why_length": {
        "en": "{least} to {most} are allowed",
        "zh-CN": "允许 {least} 到 {most}",
        "zh-TW": "允許 {least} 到 {most}",
    },
    "lore": {
        "en": "facts of the persona's world",
        "zh-CN": "角色世界里的事实",
        "zh-TW": "角色世界裡的事實",
    },
    "retention": {"en": "general skills", "zh-CN": "一般能力", "zh-TW": "一般能力"},
    "language": {
        "en": "replies in the language of the question",
        "zh-CN": "用提问的语言回答",
        "zh-TW": "用提問的語言回答",
    },
    "repetition": {
        "en": "replies that do not repeat themselves",
        "zh-CN": "回答不重复",
        "zh-TW": "回答不重複",
    },
    "character": {"en": "replies in character", "zh-CN": "回答符合角色", "zh-TW": "回答符合角色"},
    "sycophancy": {
        "en": "false claims not agreed with",
        "zh-CN": "不附和错误的说法",
        "zh-TW": "不附和錯誤的說法",
    },
    "safety": {"en": "safe replies", "zh-CN": "回答安全", "zh-TW": "回答安全"},
    "votes": {
        "en": "leaning to the liked one of two rated replies (chance → now)",
        "zh-CN": "在两条评价过的回答中偏向受好评的一条（碰运气 → 现在）",
        "zh-TW": "在兩則評價過的回答中偏向受好評的一則（碰運氣 → 現在）",
    },
    "length": {"en": "letters of a reply", "zh-CN": "回答的字数", "zh-TW": "回答的字數"},
    "never_wrong": {
        "en": "Answers that must never be wrong and have changed:",
        "zh-CN": "绝不能错、而这次变了的回答：",
        "zh-TW": "絕不能錯、而這次變了的回答：",
    },
    "changed": {
        "en": "• {question} “{was}” became “{becomes}”.",
        "zh-CN": "• {question} “{was}”变成了“{becomes}”。",
        "zh-TW": "• {question}「{was}」變成了「{becomes}」。",
    },
    "blind": {
        "en": "Both versions answered the same written questions; A and B stand in any order.",
        "zh-CN": "两个版本回答了同样的、预先写好的问题；A 和 B 的顺序是随机的。",
        "zh-TW": "兩個版本回答了同樣的、預先寫好的問題；A 和 B 的順序是隨機的。",
    },
    "run_is": {
        "en": "{name}, run {run}: {standing}",
        "zh-CN": "{name}，运行 {run}：{standing}",
        "zh-TW": "{name}，執行 {run}：{standing}",
    },
    "key_waits": {
        "en": "Which is which is told as soon as that is decided.",
        "zh-CN": "决定之后，会公布哪个是哪个。",
        "zh-TW": "決定之後，會公布哪個是哪個。",
    },
    "key_after_first": {
        "en": "A = after, B = before: {numbers}",
        "zh-CN": "A = 之后，B = 之前：{numbers}",
        "zh-TW": "A = 之後，B = 之前：{numbers}",
    },
    "key_before_first": {
        "en": "A = before, B = after: {numbers}",
        "zh-CN": "A = 之前，B = 之后：{numbers}",
        "zh-TW": "A = 之前，B = 之後：{numbers}",
    },
    "is_early": {
        "en": "It is not judged yet.",
        "zh-CN": "它还没有经过检查。",
        "zh-TW": "它還沒有經過檢查。",
    },
    "is_ready": {
        "en": "It passed and goes to a first share of the conversations by itself; a veto stops it.",
        "zh-CN": "它通过了检查，会自动用于一小部分对话；否决可以阻止它。",
        "zh-TW": "它通過了檢查，會自動用於一小部分對話；否決可以阻止它。",
    },
    "is_waiting": {
        "en": "It passed and waits for a moderator's yes.",
        "zh-CN": "它通过了检查，等待管理员批准。",
        "zh-TW": "它通過了檢查，等待管理員批准。",
    },
    "is_approved": {
        "en": "It is approved and goes to a first share of the conversations.",
        "zh-CN": "它已获批准，会用于一小部分对话。",
        "zh-TW": "它已獲批准，會用於一小部分對話。",
    },
    "is_canary": {
        "en": "It is heard in {share} of 100 conversations now.",
        "zh-CN": "现在每 100 个对话中有 {share} 个用它。",
        "zh-TW": "現在每 100 個對話中有 {share} 個用它。",
    },
    "is_promoted": {
        "en": "It is live: everybody hears it.",
        "zh-CN": "它已上线，所有对话都用它。",
        "zh-TW": "它已上線，所有對話都用它。",
    },
    "is_rejected": {
        "en": "It does not go live; the present version stays. {reason}",
        "zh-CN": "它不会上线，现有版本保留。{reason}",
        "zh-TW": "它不會上線，現有版本保留。{reason}",
    },
    "is_rolled_back": {
        "en": "It was rolled back; the version before is heard again. {reason}",
        "zh-CN": "它已被撤回，恢复之前的版本。{reason}",
        "zh-TW": "它已被撤回，恢復之前的版本。{reason}",
    },
    "is_failed": {
        "en": "The run failed. {reason}",
        "zh-CN": "这次运行失败了。{reason}",
        "zh-TW": "這次執行失敗了。{reason}",
    },
    "is_superseded": {
        "en": "It is out of date and does not go live. {reason}",
        "zh-CN": "它已经过时，不会上线。{reason}",
        "zh-TW": "它已經過時，不會上線。{reason}",
    },
    "vetoed": {
        "en": "A moderator vetoed it.",
        "zh-CN": "管理员否决了它。",
        "zh-TW": "管理員否決了它。",
    },
    "rolled_back": {
        "en": "A moderator rolled it back.",
        "zh-CN": "管理员撤回了它。",
        "zh-TW": "管理員撤回了它。",
    },
    "moderators_only": {
        "en": "Only moderators decide about new versions.",
        "zh-CN": "只有管理员可以决定新版本。",
        "zh-TW": "只有管理員可以決定新版本。",
    },
    "no_run": {
        "en": "I know no such run.",
        "zh-CN": "我不认识这次运行。",
        "zh-TW": "我不認識這次執行。",
    },
    "unchanged": {
        "en": "Nothing was changed.",
        "zh-CN": "什么都没有改变。",
        "zh-TW": "什麼都沒有改變。",
    },
    "approve": {"en": "Approve", "zh-CN": "批准", "zh-TW": "批准"},
    "veto": {"en": "Veto", "zh-CN": "否决", "zh-TW": "否決"},
    "rollback": {"en": "Roll back", "zh-CN": "撤回", "zh-TW": "撤回"},
}


def word(name: str, lang: Lang, /, **values: object) -> str:
    return WORDS[name][lang].format(**values)
