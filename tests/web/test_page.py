"""What a person does on the page, and what they see."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import uuid4

import jwt
import pytest
from playwright.async_api import expect

from coach.testing.stub_script import Answer, ErrorEvent, Garbage, Status
from tests.web.conftest import ask

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


async def test_the_printed_link_signs_in_and_leaves_no_token_in_the_address(page, ann):
    await page.goto(f"/#token={ann.token}")

    await expect(page.locator("#welcome")).to_be_visible()
    assert ann.token not in page.url
    await expect(page.locator("#quota")).to_contain_text("20 of 20 left")
    await page.reload()
    await expect(page.locator("#welcome")).to_be_visible()


@pytest.mark.parametrize(("follows", "who"), [(False, "ann"), (True, "bob")])
@pytest.mark.parametrize("is_open", [True, False])
async def test_a_link_to_another_account_asks_first(signed_in, ann, owner, token_for, follows, who, is_open):
    """Whoever follows a stranger's link would write into the stranger's account."""
    tokens = {"ann": ann.token, "bob": token_for(uuid4())}
    owner.execute("insert into auth.users (id) values (%s)", (subject(tokens["bob"]),))
    asked = []

    async def answer(dialog):
        asked.append(dialog.message)
        await (dialog.accept() if follows else dialog.dismiss())

    signed_in.on("dialog", answer)
    if not is_open:
        await signed_in.goto("about:blank")
    await signed_in.goto(f"/#token={tokens['bob']}")
    await expect(signed_in.locator("#quota")).to_contain_text("20 of 20 left")

    assert len(asked) == 1
    assert tokens["bob"] not in signed_in.url
    assert await signed_in.evaluate("localStorage.getItem('coach.token')") == tokens[who]


async def test_a_new_link_to_the_same_account_asks_nothing(signed_in, ann, token_for):
    signed_in.on("dialog", lambda dialog: pytest.fail(dialog.message))
    renewed = token_for(ann.user_id, ttl=timedelta(hours=2))
    await signed_in.goto(f"/#token={renewed}")

    await expect(signed_in.locator("#welcome")).to_be_visible()
    assert await signed_in.evaluate("localStorage.getItem('coach.token')") == renewed


def subject(token):
    return jwt.decode(token, options={"verify_signature": False})["sub"]


async def test_a_stranger_is_asked_for_a_token_and_may_paste_one(page, ann):
    await page.goto("/")
    await expect(page.locator("#sign-in")).to_be_visible()
    await expect(page.locator("#dock")).to_be_hidden()

    await page.locator("#token").fill(f"  {ann.token}\n")
    await page.get_by_role("button", name="Sign in").click()

    await expect(page.locator("#welcome")).to_be_visible()


@pytest.mark.parametrize("spoiled", ["nonsense", "expired"])
async def test_a_token_that_does_not_hold_is_refused_in_words(page, ann, token_for, spoiled):
    token = token_for(ann.user_id, ttl=timedelta(hours=-1)) if spoiled == "expired" else "nonsense"

    await page.goto(f"/#token={token}")

    await expect(page.locator("#sign-in-notice")).to_have_text("Your sign-in no longer holds. Please sign in again.")
    await page.reload()
    await expect(page.locator("#sign-in-notice")).to_be_hidden()


async def test_signing_out_forgets_the_token_and_the_conversation(signed_in):
    await ask(signed_in, "A secret question")
    await expect(signed_in.locator(".foot .row")).to_be_visible()

    await signed_in.get_by_role("button", name="Sign out").click()

    await expect(signed_in.locator("#sign-in")).to_be_visible()
    assert await signed_in.evaluate("Object.keys(localStorage).length + sessionStorage.length") == 0
    await expect(signed_in.locator("body")).not_to_contain_text("secret")


async def test_an_answer_grows_word_by_word_and_ends_with_its_sources_and_quota(signed_in, ann, model_stub):
    await ann.asks("The physio wants me to rest the knee for two weeks.", id="before")
    model_stub.always(Answer(text="Rest first [1]. " + "Then run a little more each week. " * 5, held_after=5))

    answer = await ask(signed_in, "What does the physio say about my knee?")
    text = answer.locator(".text")
    await expect(text).to_contain_text("Rest first")
    early = len(await text.inner_text())
    await expect(signed_in.locator("#stop")).to_be_visible()
    model_stub.go_on()
    await expect(answer.locator(".foot .row")).to_be_visible()

    assert early < len(await text.inner_text())
    await expect(answer.locator(".card").first).to_contain_text("physio")
    await expect(answer.locator(".card").first).to_contain_text("Conversation")
    await expect(answer.locator(".facts").first).to_have_text(re.compile(r"stub · [\d,]+ tokens · "))
    await expect(signed_in.locator("#quota")).to_contain_text("18 of 20 left")
    await expect(signed_in.locator("#send")).to_be_visible()


async def test_a_citation_leads_to_its_source(signed_in, ann, model_stub):
    await ann.asks("The physio wants me to rest the knee for two weeks.", id="before")
    model_stub.always(Answer(text="Rest first [1], as ever [99]."))
    answer = await ask(signed_in, "What does the physio say about my knee?")
    await expect(answer.locator(".foot .row")).to_be_visible()

    await answer.locator(".cite").click()

    await expect(answer.locator(".card.lit .n")).to_have_text("1")
    await expect(answer.locator(".text")).to_contain_text("[99]")


async def test_a_long_answer_is_shown_from_its_beginning(signed_in, model_stub):
    model_stub.always(Answer(text="\n\n".join(f"Paragraph {n} of a long answer." for n in range(60))))
    await ask(signed_in, "First")
    await expect(signed_in.locator(".foot .row")).to_be_visible()

    answer = await ask(signed_in, "And then?")
    await expect(answer.locator(".foot .row")).to_be_attached()

    await expect(signed_in.locator(".said").last).to_be_in_viewport()
    await expect(answer.locator("p").first).to_be_in_viewport()
    await signed_in.get_by_role("button", name="Latest").click()
    await expect(answer.locator(".foot .row")).to_be_in_viewport()
    await expect(signed_in.locator("#latest")).to_be_hidden()


async def test_stop_keeps_what_was_said(signed_in, model_stub):
    model_stub.always(Answer(tokens=500, rate=20))
    answer = await ask(signed_in, "Tell me everything")
    await expect(answer.locator(".text")).to_contain_text("small honest")

    await signed_in.keyboard.press("Escape")

    await expect(answer.locator(".facts").first).to_contain_text("Stopped")
    await expect(answer.locator(".text")).to_contain_text("small honest")
    await model_stub.until(lambda stub: stub.open_streams == 0)


async def test_a_reload_in_the_middle_takes_the_answer_up_again(signed_in, model_stub):
    model_stub.always(Answer(tokens=60, rate=20))
    answer = await ask(signed_in, "Tell me more")
    await expect(answer.locator(".text")).to_contain_text("small honest")

    await signed_in.reload()

    answer = signed_in.locator(".message.coach")
    await expect(answer.locator(".foot .row")).to_be_visible(timeout=15_000)
    assert (await answer.locator(".text").inner_text()).split() == "".join(Answer(tokens=60).pieces).split()
    assert model_stub.calls == 1


async def test_a_connection_that_breaks_is_taken_up_again_without_a_word(page, ann, cable, model_stub):
    await page.goto(f"{cable.url}/#token={ann.token}")
    await page.locator("#welcome").wait_for()
    model_stub.always(Answer(tokens=60, rate=20))
    answer = await ask(page, "Tell me more")
    await expect(answer.locator(".text")).to_contain_text("small honest")

    cable.pull()

    await expect(answer.locator(".foot .row")).to_be_visible(timeout=15_000)
    assert (await answer.locator(".text").inner_text()).split() == "".join(Answer(tokens=60).pieces).split()
    await expect(answer.locator(".notice")).to_have_count(0)
    assert model_stub.calls == 1


async def test_a_finished_conversation_is_still_there_after_a_reload_and_goes_on(signed_in):
    await ask(signed_in, "First question")
    await expect(signed_in.locator(".foot .row")).to_be_visible()
    await signed_in.reload()
    await expect(signed_in.locator(".message.user")).to_have_text("First question")

    await ask(signed_in, "Second question")

    await expect(signed_in.locator(".message.coach")).to_have_count(2)
    await expect(signed_in.locator(".foot .row")).to_have_count(2)


async def test_answering_again_replaces_the_answer(signed_in, model_stub):
    model_stub.will(Answer(text="The first answer."), Answer(text="Another answer."))
    answer = await ask(signed_in, "Which one?")
    await expect(answer.locator(".text")).to_have_text("The first answer.")

    await signed_in.get_by_role("button", name="Answer again").click()

    await expect(answer.locator(".text")).to_have_text("Another answer.")
    await expect(signed_in.locator(".message.user")).to_have_count(1)


async def test_a_new_conversation_begins_empty(signed_in):
    await ask(signed_in, "Something")
    await expect(signed_in.locator(".foot .row")).to_be_visible()

    await signed_in.get_by_role("button", name="New").click()

    await expect(signed_in.locator("#welcome")).to_be_visible()
    await expect(signed_in.locator(".message")).to_have_count(0)


async def test_a_question_about_ones_own_rows_is_offered_and_asked_by_a_click(page, ann, owner):
    owner.execute(
        "insert into tasks (user_id, name, due_date) values (%s, 'Water the plants', now()::date - 9)", (ann.user_id,)
    )
    await page.goto(f"/#token={ann.token}")

    await expect(page.locator(".chips button")).to_have_count(4)
    await expect(page.locator("#welcome-empty")).to_be_hidden()
    await page.locator(".chips button").first.click()

    await expect(page.locator(".message.user")).to_have_text("What have I been putting off?")
    await expect(page.locator(".message.coach .text")).to_contain_text("honest")


async def test_an_empty_account_is_given_sentences_to_begin_with(signed_in):
    await expect(signed_in.locator("#welcome-empty")).to_contain_text("I know little about you yet.")
    await expect(signed_in.locator("#welcome-known")).to_be_hidden()

    await signed_in.locator(".chips button").first.click()

    await expect(signed_in.locator("#question")).to_have_value("My most important goal is ")
    await expect(signed_in.locator("#question")).to_be_focused()
    await expect(signed_in.locator(".message")).to_have_count(0)


async def test_questions_that_cannot_be_had_are_missed_by_nobody(page, ann):
    await page.route("**/api/me/suggestions", lambda route: route.fulfill(status=500, json={}))
    await page.goto(f"/#token={ann.token}")

    await expect(page.locator("#welcome h1")).to_be_visible()
    await expect(page.locator(".chips button")).to_have_count(0)
    await expect(page.locator("#question")).to_be_focused()


async def test_shift_enter_makes_a_line_and_nothing_is_not_sent(signed_in):
    question = signed_in.locator("#question")
    await question.press("Enter")
    await question.fill("one")
    await question.press("Shift+Enter")
    await question.type("two")
    await question.press("Enter")

    await expect(signed_in.locator(".foot .row")).to_be_visible()
    await expect(signed_in.locator(".message.user")).to_have_count(1)
    assert await signed_in.locator(".said").inner_text() == "one\ntwo"
    await expect(question).to_have_value("")


async def test_a_failed_answer_can_be_tried_again(signed_in, model_stub):
    model_stub.will(Status(401), Answer(text="Now it works."))
    answer = await ask(signed_in, "Are you there?")
    await expect(answer.locator(".notice")).to_contain_text("The language model does not answer right now.")

    await answer.get_by_role("button", name="Try again").click()

    await expect(answer.locator(".text")).to_have_text("Now it works.")


async def test_an_answer_that_breaks_off_keeps_what_was_said(signed_in, model_stub):
    model_stub.will(ErrorEvent(after=4))

    answer = await ask(signed_in, "Are you there?")

    await expect(answer.locator(".notice")).to_be_visible()
    await expect(answer.locator(".text")).to_contain_text("small honest")


async def test_the_page_explains_an_exhausted_quota(signed_in, ann, owner):
    owner.execute("insert into coach.ai_limits values (%s, 0)", (ann.user_id,))

    answer = await ask(signed_in, "One more?")

    await expect(answer.locator(".notice")).to_have_text(
        re.compile(r"All 0 answers of this month are used. There are new ones on .*1.*\.")
    )
    await expect(answer.get_by_role("button", name="Try again")).to_have_count(0)


async def test_the_page_explains_a_server_that_is_gone(signed_in):
    await signed_in.context.set_offline(True)

    answer = await ask(signed_in, "Are you there?")

    await expect(answer.locator(".notice")).to_contain_text("The server cannot be reached.")
    await signed_in.context.set_offline(False)
    await answer.get_by_role("button", name="Try again").click()
    await expect(answer.locator(".text")).to_contain_text("honest")


async def test_hostile_text_stays_text(signed_in, model_stub):
    hostile = '<img src=x onerror="document.title=1"> [go](javascript:a()) **<b onclick=x>bold</b>** <script>1</script>'
    model_stub.always(Answer(text=hostile))

    answer = await ask(signed_in, hostile)

    await expect(answer.locator(".text")).to_contain_text("<img src=x")
    await expect(answer.locator(".text strong")).to_have_text("<b onclick=x>bold</b>")
    assert await signed_in.locator(".message :is(img, script, a, b)").count() == 0
    assert await signed_in.title() == "Aurum Coach"


async def test_the_markdown_that_models_write_is_set_as_meant(signed_in, model_stub):
    model_stub.always(
        Answer(
            text="## Plan\n\nDo *this* and `that`:\n\n1. First **thing**\n2. Second\n\n- a\n- b\n\n"
            "> said\n\n```\nx = 1\n```\n2 * 3 * 4"
        )
    )

    text = (await ask(signed_in, "How?")).locator(".text")

    await expect(text.locator("h3")).to_have_text("Plan")
    await expect(text.locator("ol li")).to_have_text(["First thing", "Second"])
    await expect(text.locator("ul li")).to_have_text(["a", "b"])
    await expect(text.locator("em")).to_have_text("this")
    await expect(text.locator("pre code")).to_have_text("x = 1")
    await expect(text.locator("blockquote")).to_have_text("said")
    await expect(text.locator("p").last).to_have_text("2 * 3 * 4")


@pytest.mark.parametrize("width", [320, 390, 1400])
async def test_nothing_sticks_out_at_any_width(signed_in, model_stub, width):
    await signed_in.set_viewport_size({"width": width, "height": 800})
    model_stub.always(Answer(text="x" * 300 + " `" + "y" * 300 + "`\n\n```\n" + "z" * 300 + "\n```"))

    answer = await ask(signed_in, "w" * 300)

    await expect(answer.locator(".foot .row")).to_be_visible()
    assert await signed_in.evaluate("document.scrollingElement.scrollWidth") <= width


async def test_a_screen_reader_announces_the_complete_answer(signed_in, model_stub):
    model_stub.always(Answer(tokens=40, held_after=3))
    answer = await ask(signed_in, "Tell me")

    await expect(signed_in.locator("#messages")).to_have_attribute("aria-live", "polite")
    await expect(answer).to_have_attribute("aria-busy", "true")
    model_stub.go_on()
    await expect(answer).to_have_attribute("aria-busy", "false")


async def test_what_the_model_thinks_is_folded_above_its_answer_and_not_kept(signed_in, model_stub):
    thought = '{"choices":[{"index":0,"delta":{"reasoning_content":"A zeppelin of a thought."}}]}'
    model_stub.will(Garbage(after=0, line=f"data: {thought}"))

    answer = await ask(signed_in, "What now?")

    await expect(answer.locator(".foot .row")).to_be_visible()
    await expect(answer.locator(".thoughts summary")).to_be_visible()
    await expect(answer.locator(".thoughts div")).to_be_hidden()
    await answer.locator(".thoughts summary").click()
    await expect(answer.locator(".thoughts div")).to_have_text("A zeppelin of a thought.")
    await expect(answer.locator(".text")).not_to_contain_text("zeppelin")
    assert "zeppelin" not in await signed_in.evaluate("JSON.stringify(localStorage)")
