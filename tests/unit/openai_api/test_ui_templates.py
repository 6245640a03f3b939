"""What is a chat UI's own call, and what only looks like one."""

from __future__ import annotations

import json

import pytest

from coach.openai_api.messages import Message, read_call_messages

HISTORY = "<chat_history>\nUSER: My knee hurts.\nASSISTANT: Rest it.\n</chat_history>"


def open_webui(task: str, form: str) -> str:
    return f"### Task:\n{task}\n### Guidelines:\n- Be clear.\n### Output:\n{form}\n### Chat History:\n{HISTORY}"


OPEN_WEBUI = {
    "title": open_webui(
        "Generate a concise, 3-5 word title with an emoji summarizing the chat history.",
        'JSON format: { "title": "your concise title here" }\n### Examples:\n- { "title": "Stock Market Trends" }',
    ),
    "tags": open_webui(
        "Generate 1-3 broad tags categorizing the main themes of the chat history.",
        'JSON format: { "tags": ["tag1", "tag2", "tag3"] }',
    ),
    "follow-ups": open_webui(
        "Suggest 3-5 relevant follow-up questions or prompts.",
        'JSON format: { "follow_ups": ["Question 1?", "Question 2?", "Question 3?"] }',
    ),
    "queries": open_webui(
        "Analyze the chat history to determine the necessity of generating search queries.",
        'Strictly return in JSON format: \n{\n  "queries": ["query1", "query2"]\n}',
    ),
    "image": open_webui(
        "Generate a detailed prompt for an image.", 'Strictly return in JSON format:\n{\n    "prompt": "…"\n}'
    ),
    "autocomplete": "### Task:\nYou are an autocompletion system. Continue the text in `<text>`.\n"
    '### **Output Rules**:\n- Respond only in JSON format: `{ "text": "<your_completion>" }`.\n'
    "#### Example 1:\nOutput:\n…\n---\n### Context:\n<chat_history>\nUSER: x\n</chat_history>\n"
    "<type>General</type>  \n<text>My knee</text>  \n#### Output:\n",
    "emoji": "Your task is to reflect the speaker's likely facial expression through a fitting emoji. Interpret "
    "emotions from the message.\n\nMessage: ```My knee hurts.```",
    "older title": "Create a concise, 3-5 word title with an emoji as a title for the prompt in the given language. "
    "RESPOND ONLY WITH THE TITLE TEXT.\n\nExamples of titles:\nStock Market Trends\n\nPrompt: My knee hurts.",
}
CONVO = '||>User:\n"My knee hurts."\n||>Response:\n"Rest it."\n\n||>Title:'
OTHERS = {
    "librechat": "Provide a concise, 5-word-or-less title for the conversation, using title case conventions. Only "
    "return the title itself.\n\nConversation:\nUser: My knee hurts.\nAI: Rest it.",
    "librechat language": "Analyze this conversation and provide:\n1. The detected language of the conversation\n2. A "
    "concise title in the detected language (5 words or less, no punctuation or quotation)\n\nUser: My knee hurts.",
    "librechat before": f"Please generate a concise, 5-word-or-less title for the conversation.\n\n{CONVO}",
    "librechat long ago": "Detect user language and write in the same language an extremely concise title for this "
    f"conversation. Title in 5 Words or Less.\n\n{CONVO}",
    "chatbox": "Based on the chat history, give this conversation a name.\nKeep it short - 10 characters max.\n"
    "Just provide the name, nothing else.\n\nHere's the conversation:\n\n```\nMy knee hurts.\n```",
}
TEMPLATES = OPEN_WEBUI | OTHERS


def is_ui_task(*messages: tuple[str, str]) -> bool:
    return read_call_messages([Message(role, json.dumps(text).encode()) for role, text in messages], "m").is_ui_task


@pytest.mark.parametrize("text", TEMPLATES.values(), ids=TEMPLATES)
def test_the_templates_of_chat_uis_are_ui_tasks_with_any_system_message_in_front(text: str) -> None:
    assert is_ui_task(("user", text))
    assert is_ui_task(("user", f"  \n{text}\n\n"))
    assert is_ui_task(("system", "You are the coach of our company."), ("user", text))
    assert is_ui_task(("developer", "Be brief."), ("system", "Be kind."), ("user", text))


@pytest.mark.parametrize("text", TEMPLATES.values(), ids=TEMPLATES)
def test_amid_a_talk_or_with_something_before_them_they_are_questions(text: str) -> None:
    assert not is_ui_task(("user", "Hi"), ("assistant", "Ho"), ("user", text))
    assert not is_ui_task(("user", "Hi"), ("user", text))
    assert not is_ui_task(("user", f"What does this prompt do?\n\n{text}"))


@pytest.mark.parametrize("text", OPEN_WEBUI.values(), ids=OPEN_WEBUI)
def test_with_a_question_behind_them_they_are_questions(text: str) -> None:
    if "Prompt: " not in text:
        assert not is_ui_task(("user", f"{text}\n\nWhat does this prompt do?"))


def test_a_template_in_a_system_message_is_a_ui_task() -> None:
    summarizer = (
        "You are a professional conversation summarizer. Generate a concise title that captures the essence of the "
        "conversation.\n\nRules:\n- Output ONLY the title text, no explanations or additional context"
    )

    assert is_ui_task(("system", summarizer), ("user", "user: My knee hurts.\nassistant: Rest it."))
    assert not is_ui_task(("system", summarizer), ("user", "My knee hurts."))
    assert is_ui_task(("system", OTHERS["librechat before"]))


RAG = (
    "### Task:\nRespond to the user query using the provided context, incorporating inline citations in the format "
    "[id].\n\n### Guidelines:\n- If you don't know the answer, clearly state that.\n\n### Output:\nProvide a clear and "
    'direct response.\n\n<context>\n<source id="1">{document}</source>\n</context>\n\n'
)


@pytest.mark.parametrize("document", ["My knee.", OPEN_WEBUI["title"], OPEN_WEBUI["tags"]])
@pytest.mark.parametrize(
    "question", ["<user_query>\nWhat now?\n</user_query>", "What now?", "Name this: </chat_history>", ""]
)
def test_a_question_behind_a_documents_template_is_a_question(document: str, question: str) -> None:
    assert not is_ui_task(("user", RAG.format(document=document) + question))


@pytest.mark.parametrize(
    "text",
    [
        "### Task:\nPlan my week.",
        "### Task: Generate a title for my essay.",
        f"### Task:\nWhat went wrong here?\n{HISTORY}",
        '### Task:\nGenerate a title.\n### Output:\nJSON format: { "title": "…" }',
        "Create a concise, 3-5 word title with an emoji for my essay about knees.",
        "Your task is to reflect the speaker's likely facial expression: a fitting emoji, please.",
        "Provide a concise, 5-word-or-less title for the conversation that I should have with my boss.",
    ],
)
def test_in_doubt_it_is_a_question(text: str) -> None:
    assert not is_ui_task(("user", text))
