"""The gate's report in the moderators' channel and presses under it: real store and core, ports in memory."""

from __future__ import annotations

import asyncio
import contextlib
import re
import string
from dataclasses import replace

import pytest

from bot.gate_post import GatePost
from bot.gate_words import WORDS, word
from bot.outbox import Outbox
from bot.pace import Pace
from bot.platform import Capabilities, Place, PortError, Press, RetryLater, SendUnknown
from data.clock import SystemClock
from data.home import rater_hash
from data.records import Adapter, InboxItem
from data.run_states import LEGAL
from data.script import script_of
from data.text import units
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT, FakeEngine
from tests.fakes.judged import judged, measures, verdict
from tests.fakes.port import FakePort
from tests.fakes.troupe import troupe
from tests.waiting import until
from training.measures import Lengths, Measures, SideBySide

LANGS = ("en", "zh-CN", "zh-TW")
CHANNELS = {"discord": "discord:77", "telegram": "telegram:-77"}
LIMITS = {
    "discord": Capabilities(2000, "character", can_edit=True, min_edit_interval_s=0.0, deduplicates=True),
    "telegram": Capabilities(4096, "utf16", can_edit=True, min_edit_interval_s=0.0),
}


@pytest.fixture(name="platform", params=["discord", "telegram"])
def _platform(request):
    return request.param


@pytest.fixture(name="port")
def _port(platform):
    return FakePort(platform=platform, caps=LIMITS[platform])


@pytest.fixture(name="decisions")
def _decisions():
    return []


@pytest.fixture(name="parts")
async def _parts(tmp_path, platform, port, decisions):
    async with (
        FakeEngine() as engine,
        troupe(
            tmp_path / "home",
            engine.url,
            moderators=(f"{platform}:mo", "discord-role:5"),
            moderators_channel=CHANNELS[platform],
            on_decision=lambda: decisions.append(1),
        ) as parts,
    ):
        parts.core.attach(port)
        yield parts


@pytest.fixture(name="post")
def _post(parts):
    return parts.core.gate_post


@pytest.fixture(name="run")
async def _run(parts, tmp_path):
    """A run that waits for a moderator, of a persona that speaks with an older adapter."""
    await with_champion(parts, tmp_path)
    return await judged(parts.store, tmp_path / "adapters")


async def with_champion(parts, folder):
    row = Adapter(adapter(folder / "v0", seed=1), "harry_potter", "v0", FINGERPRINT, str(folder / "v0"))
    await parts.store.add_adapter(row, champion_if_none=True)


def restarted(parts, port, **more):
    """Another life of the process on the same store."""
    outbox = Outbox(parts.store, Pace(SystemClock()), SystemClock())
    ports = {port.platform: port}
    return GatePost(parts.store, outbox, ports, CHANNELS[port.platform], parts.cast, **more)


async def press(parts, act, *, user="mo", run="run", roles=()):
    platform = "discord" if "discord" in parts.core._ports else "telegram"
    place = Place(platform, "77" if platform == "discord" else "-77")
    return await parts.core.press(Press(place, "p", user, f"gate:{run}:{act}", lang_hint="en", roles=roles))


def last(port):
    """(text, presses) of the message with the buttons."""
    number = next(one for one, text in port.messages.items() if text.startswith("Harry Potter, run run:"))
    return port.messages[number], [button.data.rpartition(":")[2] for button in port.buttons[number]]


async def champion(parts):
    aliases = await parts.store.aliases(FINGERPRINT)
    return next(one.version for one in aliases if one.alias == "champion")


def shown(texts):
    """What stood as A and as B in each side-by-side, by its number."""
    found = {}
    for number, a, b in re.findall(
        r"^(\d+)\. Question .*\nA: (.*)\nB: (.*)$", "\n".join(texts), re.MULTILINE
    ):
        found[int(number)] = (a.split()[0], b.split()[0])
    return found


async def test_a_report_is_posted_once_however_often_it_is_called_for(parts, port, post, run):
    await post.judged(run, verdict(), measures())
    texts = port.texts
    assert all(0 < units(text, port.caps.unit) <= port.caps.max_units for text in texts)
    assert len(texts) == 2, "all that fits goes into one message"
    assert texts[0].splitlines()[:7] == [
        "Harry Potter: a new version has learnt from votes (run run).",
        "",
        "The gate let it pass:",
        "✓ facts of the persona's world: 90.0 % → 91.0 %",
        "✓ general skills: 80.0 % → 81.0 %",
        "✓ leaning to the liked one of two rated replies (chance → now): 50.0 % → 61.0 %",
        "✓ letters of a reply: 30 → 31",
    ]
    assert "• What is your owl called? “Hedwig” became “Errol”." in texts[0]
    assert texts[1].startswith("Harry Potter, run run: It passed and waits for a moderator's yes.")
    assert last(port)[1] == ["approve", "veto", "rollback"]
    await post.judged(run, verdict(), measures())
    await restarted(parts, port).judged(run, verdict(), measures())
    await restarted(parts, port).catch_up()
    assert (port.texts, port.sends, port.edits) == (texts, 2, 0)
    assert {place.chat for place in port.places.values()} == {CHANNELS[port.platform].partition(":")[2]}


async def test_every_message_keeps_to_the_platforms_limit(parts, port, post, run):
    long = "她说道：" + "𠮷" * 900
    many = Measures(
        (), (), Lengths(30, 30, 31), tuple(SideBySide("问？" * 400, long, f"{long}！") for _ in range(10))
    )
    await post.judged(run, verdict(), many)
    assert [units(text, port.caps.unit) <= port.caps.max_units for text in port.texts] == [True] * len(
        port.texts
    )
    assert "".join(port.texts).count("\nA: 她说道：") == 10
    assert [bool(row) for row in port.buttons.values()] == [False] * (len(port.texts) - 1) + [True]


async def test_nobody_can_tell_a_from_b_before_it_is_decided_and_then_everybody_is_told(
    parts, port, post, run
):
    await post.judged(run, verdict(), measures())
    sides = shown(port.texts)
    assert len(sides) == 10
    assert {a for a, _ in sides.values()} == {"champion", "challenger"}, "either may stand first"
    assert not re.search(r"[AB] = ", "\n".join(port.texts))
    await press(parts, "approve")
    text, _ = last(port)
    told = {}
    for line in text.splitlines():
        found = re.fullmatch(r"A = (before|after), B = (before|after): ([\d, ]+)", line)
        for number in found[3].split(", ") if found else ():
            told[int(number)] = tuple(
                {"before": "champion", "after": "challenger"}[one] for one in found.group(1, 2)
            )
    assert told == sides


async def test_the_order_of_a_and_b_is_the_runs_own_and_the_same_again(parts, port, run):
    orders = []
    for name in ("run", "run", "another"):
        other = FakePort(platform=port.platform, caps=port.caps)
        store = parts.store
        chat = f"{len(orders)}{name}"
        post = GatePost(
            store,
            Outbox(store, Pace(SystemClock()), SystemClock()),
            {port.platform: other},
            f"{port.platform}:{chat}",
            parts.cast,
        )
        await post.judged(replace(run, id=name), verdict(), measures())
        orders.append(shown(other.texts))
    assert orders[0] == orders[1] != orders[2]


async def test_a_moderator_approves_and_the_loop_is_nudged(parts, port, post, run, decisions):
    await post.judged(run, verdict(), measures())
    outcome = await press(parts, "approve")
    assert outcome.text == (
        "Harry Potter, run run: It is approved and goes to a first share of the conversations."
    )
    assert (await parts.store.ledger.run("run")).is_ready
    assert decisions == [1]
    text, acts = last(port)
    assert text.startswith(outcome.text)
    assert acts == ["veto", "rollback"]
    assert (await press(parts, "approve")).text == outcome.text, "pressed again it is as it was"
    assert port.edits == 1
    assert [audit.actor for audit in await parts.store.audits() if audit.act == "approve"] == ["a moderator"]


async def test_others_get_a_sentence_and_change_nothing(parts, port, post, run, decisions):
    await post.judged(run, verdict(), measures())
    for act in ("approve", "veto", "rollback"):
        outcome = await press(parts, act, user="ann", roles=("6",))
        assert (outcome.text, outcome.buttons) == ("Only moderators decide about new versions.", ())
    assert await parts.store.ledger.run("run") == run
    assert (decisions, port.edits) == ([], 0)


async def test_a_role_may_decide_on_discord_alone(parts, platform, run):
    outcome = await press(parts, "veto", user="ann", roles=("5",))
    assert ("vetoed" in outcome.text) is (platform == "discord")


async def test_a_veto_wins_also_after_an_approval(parts, port, post, run, decisions):
    await post.judged(run, verdict(), measures())
    await press(parts, "approve")
    outcome = await press(parts, "veto")
    assert "It does not go live; the present version stays. A moderator vetoed it." in outcome.text
    assert (await parts.store.ledger.run("run")).state == "rejected"
    assert last(port)[1] == [], "nothing is left to decide"
    outcome = await press(parts, "approve")
    assert outcome.text.startswith("Nothing was changed. Harry Potter, run run: It does not go live")
    assert len(decisions) == 2


@pytest.mark.parametrize("act", ["veto", "rollback"])
async def test_what_is_live_is_taken_back(parts, port, post, run, act, decisions):
    ledger = parts.store.ledger
    await post.judged(run, verdict(), measures())
    await press(parts, "approve")
    await ledger.start_canary("run", 10)
    await post.told(run, "The new version is heard in 10 of 100 conversations now.")
    assert "It is heard in 10 of 100 conversations now." in last(port)[0]
    await ledger.promote_run("run", "the gate")
    await post.told(run, "It did not do worse.")
    assert await champion(parts) == "run"
    assert "It is live: everybody hears it." in last(port)[0]
    assert last(port)[1] == ["rollback"]
    outcome = await press(parts, act)
    assert "It was rolled back; the version before is heard again." in outcome.text
    assert (await ledger.run("run")).state == "rolled_back"
    assert await champion(parts) == "v0"
    assert len(decisions) == 2


async def test_a_rollback_before_anything_is_live_says_how_the_run_stands(parts, run, decisions):
    outcome = await press(parts, "rollback")
    assert outcome.text == (
        "Nothing was changed. Harry Potter, run run: It passed and waits for a moderator's yes."
    )
    assert decisions == []


@pytest.mark.parametrize("data", ["gate:", "gate", "gate:nothing:veto", "gate:run:", "gate:run:sing"])
async def test_a_press_on_what_is_not_there_changes_nothing(parts, platform, run, data, decisions):
    outcome = await parts.core.press(Press(Place(platform, "77"), "p", "mo", data, lang_hint="zh-TW"))
    assert outcome.text
    assert await parts.store.ledger.run("run") == run
    assert decisions == []


async def test_a_run_that_did_not_pass_has_no_buttons_and_says_why(parts, port, post, tmp_path):
    await with_champion(parts, tmp_path)
    run = await judged(parts.store, tmp_path / "adapters", passed=False)
    await post.judged(run, verdict(passed=False), measures())
    assert "The gate stopped it:" in port.texts[0]
    assert (
        "✗ general skills: 80.0 % → 72.0 %; it may have lost 10.0 points, and less than 2.0 are allowed"
        in port.texts[0]
    )
    text, acts = last(port)
    assert acts == []
    assert "It does not go live; the present version stays. retention was judged." in text
    assert "A = " in text


async def test_where_nobody_is_asked_a_veto_is_still_there(parts, port, post, tmp_path):
    await with_champion(parts, tmp_path)
    run = await judged(parts.store, tmp_path / "adapters", mode="auto")
    await post.judged(run, verdict(mode="auto"), measures())
    assert last(port)[1] == ["veto", "rollback"]
    await parts.store.ledger.start_canary("run", 10)
    await post.told(run, "It began.")
    assert "A = " not in "\n".join(port.texts), "blind as long as nobody decided"
    assert "rolled back" in (await press(parts, "veto")).text
    assert "A = " in "\n".join(port.texts)


async def test_news_are_posted_once_and_after_what_is_missing_of_the_report(parts, port, post, run):
    for _ in range(2):
        await post.told(run, "The new version is heard in 10 of 100 conversations now.")
    await restarted(parts, port).told(run, "The new version is heard in 10 of 100 conversations now.")
    await post.told(run, "Fewer thumbs down.")
    assert port.texts[-2:] == [
        "Harry Potter, run run: The new version is heard in 10 of 100 conversations now.",
        "Harry Potter, run run: Fewer thumbs down.",
    ]
    assert port.texts[0].startswith("Harry Potter: a new version has learnt from votes")
    assert len(port.texts) == 4


async def test_what_a_platform_refuses_is_said_with_the_next_call(parts, port, post, run):
    port.script = [PortError("Missing Access")]
    await post.judged(run, verdict(), measures())
    assert port.texts == []
    port.script = [RuntimeError("Session is closed")]
    await post.told(run, "Fewer thumbs down.")
    port.script = []
    await restarted(parts, port).catch_up()
    texts = port.texts
    assert texts[-1] == "Harry Potter, run run: Fewer thumbs down."
    await post.catch_up()
    assert port.texts == texts


async def test_a_platform_that_is_busy_holds_nobody_up(parts, port, post, run):
    port.script = [RetryLater(0.01), RetryLater(3600.0)]
    async with asyncio.timeout(10):
        await post.judged(run, verdict(), measures())
    assert port.texts == []
    await restarted(parts, port).judged(run, verdict(), measures())
    assert len(port.texts) == 2


async def test_a_message_that_may_have_arrived_is_not_sent_again_where_it_could_double(
    parts, port, post, run
):
    port.arrives, port.script = True, [SendUnknown("time-out")]
    await post.judged(run, verdict(), measures())
    await restarted(parts, port).catch_up()
    assert len(port.texts) == 2
    assert len([text for text in port.texts if "→" in text]) == 1


async def test_a_bot_killed_while_it_posts_says_nothing_twice(parts, port, post, run):
    port.block = asyncio.Event()
    dying = asyncio.create_task(post.judged(run, verdict(), measures()))
    note = await until_noted(parts, port)
    dying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await dying
    (item,) = await parts.store.outbox(note.id, "gate")
    assert item.state == "sending"
    port.block = None
    await restarted(parts, port).catch_up()
    (item,) = await parts.store.outbox(note.id, "gate")
    # Only where the platform tells doubles apart may it be sent again.
    assert item.state == ("sent" if port.caps.deduplicates else "unknown")
    assert len(port.texts) == (2 if port.caps.deduplicates else 1)
    assert last(port)[1] == ["approve", "veto", "rollback"]


async def until_noted(parts, port):
    chat = CHANNELS[port.platform].partition(":")[2]
    async with asyncio.timeout(30):
        while True:
            note = await parts.store.noted(port.platform, chat, "gate:run")
            if note is not None and await parts.store.outbox(note.id, "gate"):
                return note
            await asyncio.sleep(0.01)


async def test_a_bot_killed_between_the_gate_and_the_report_posts_it_from_the_row(parts, port, run):
    await restarted(parts, port).catch_up()
    texts = port.texts
    other = FakePort(platform=port.platform, caps=port.caps)
    await restarted(parts, other).judged(run, verdict(), measures())
    assert (len(texts), other.texts) == (2, []), "it is the same report"


async def test_what_is_judged_while_the_platform_is_away_is_posted_when_it_is_back(parts, port, run):
    ports = {}
    outbox = Outbox(parts.store, Pace(SystemClock()), SystemClock())
    post = GatePost(parts.store, outbox, ports, CHANNELS[port.platform], parts.cast)
    await post.judged(run, verdict(), measures())
    await post.told(run, "Fewer thumbs down.")
    await post.catch_up()
    ports[port.platform] = port
    await post.told(run, "Fewer thumbs down.")
    assert len(port.texts) == 3


async def test_a_report_that_could_not_be_edited_is_edited_later(parts, port, post, run):
    await post.judged(run, verdict(), measures())
    port.edit_script = [PortError("Unknown Message")]
    outcome = await press(parts, "veto")
    assert "A moderator vetoed it." in outcome.text
    assert "waits for a moderator" in last(port)[0]
    await post.catch_up()
    assert "A moderator vetoed it." in last(port)[0]


async def test_a_channel_that_stays_closed_is_asked_less_and_less_often(parts, port, post, run):
    port.script = [PortError("Missing Access")] * 100
    for _ in range(20):
        await post.catch_up()
    assert port.sends == 5, "the 1st, 2nd, 4th, 8th and 16th time"


async def test_without_edits_the_post_stays_as_it_is(parts, port, post, run):
    port.caps = replace(port.caps, can_edit=False)
    await post.judged(run, verdict(), measures())
    assert "vetoed" in (await press(parts, "veto")).text
    assert (port.edits, len(port.texts)) == (0, 2)


async def test_old_runs_are_not_told_to_a_new_channel(parts, port, post, run):
    await parts.store.ledger.veto("run", "operator", "No.")
    await post.catch_up()
    assert port.texts == []


async def test_without_a_channel_nothing_is_posted_and_moderators_decide_all_the_same(tmp_path):
    async with (
        FakeEngine() as engine,
        troupe(tmp_path / "home", engine.url, moderators=("telegram:mo",)) as parts,
    ):
        port = FakePort()
        parts.core.attach(port)
        run = await judged(parts.store, tmp_path / "adapters")
        await parts.core.gate_post.judged(run, verdict(), measures())
        await parts.core.gate_post.told(run, "Fewer thumbs down.")
        await parts.core.gate_post.catch_up()
        assert "approved" in (await press(parts, "approve")).text
        assert (port.texts, (await parts.store.states())["outbox"]) == ([], {})


async def test_what_is_posted_is_no_message_to_the_bot_and_outlives_a_moderator(
    parts, port, post, run, platform
):
    await post.judged(run, verdict(), measures())
    assert await parts.store.open_items(platform, after=0, most=10) == ()
    chat = CHANNELS[platform].partition(":")[2]
    mo = rater_hash(b"secret", platform, "mo")
    await parts.store.receive([InboxItem(platform, chat, "", "1", mo, "message", "{}")])
    await parts.store.erasures.erase(mo)
    note = await parts.store.noted(platform, chat, "gate:run")
    (item,) = await parts.store.outbox(note.id, "decision")
    assert (item.text, item.platform_message_id) == (port.texts[-1], list(port.messages)[-1])


async def test_presses_of_a_polling_platform_are_acknowledged(parts, port, post, run, platform):
    await post.judged(run, verdict(), measures())
    event = Press(Place(platform, "-77"), "x", "mo", "gate:run:veto", lang_hint="en")
    await parts.core.receive([event])
    ((_, outcome),) = await until(lambda: port.acknowledged)
    assert "A moderator vetoed it." in outcome.text


@pytest.mark.parametrize("lang", LANGS)
async def test_the_report_is_there_in_three_languages(parts, port, run, lang):
    await restarted(parts, port, lang=lang).judged(run, verdict(), measures())
    assert word("passed", lang) in port.texts[0]
    assert parts.cast["harry_potter"].names[lang] in port.texts[0]
    assert [button.label for button in port.buttons[list(port.messages)[-1]]] == [
        word(act, lang) for act in ("approve", "veto", "rollback")
    ]


@pytest.mark.parametrize("name", WORDS)
def test_every_word_is_there_in_three_languages_with_the_same_blanks(name):
    blanks = [
        {blank for _, blank, _, _ in string.Formatter().parse(text) if blank} for text in WORDS[name].values()
    ]
    assert set(WORDS[name]) == set(LANGS)
    assert blanks[0] == blanks[1] == blanks[2]
    for lang in ("zh-CN", "zh-TW"):
        words = re.sub(r"[{}\w]+", "", WORDS[name][lang], flags=re.ASCII)
        if re.search("[\u4e00-\u9fff]", words):
            assert script_of(words, lang) == lang, words


async def test_every_state_of_a_run_can_be_told(parts, run):
    from bot.gate_report import decision

    for state in LEGAL:
        told = replace(run, state=state, share=10, error="Out of memory.")
        for lang in LANGS:
            text, acts = decision(told, 10, name="Harry", lang=lang)
            assert "{" not in text
            assert len(text) > 20
            assert all(len(act.data.encode()) <= 64 for act in acts)
