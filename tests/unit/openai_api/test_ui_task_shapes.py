"""Which calls of chat UIs are theirs, and which are a person's."""

from __future__ import annotations

import time

import pytest

from coach.openai_api.ui_task_shapes import looks_like_ui_task

CHAT = "### Chat History:\n<chat_history>\nUSER: My knee hurts.\nASSISTANT: Rest it.\n</chat_history>"
TITLE = f'### Task:\nGenerate a title of 3-5 words.\n### Output:\nJSON format: {{ "title": "..." }}\n{CHAT}'
COMPLETION = (
    '### Task:\nYou are an autocompletion system.\n### **Output Rules**:\nOnly JSON: `{ "text": "" }`.\n---\n'
    "### Context:\n<chat_history>\nUSER: Hi\n</chat_history>\n<type>General</type>\n<text>My kn</text>\n#### Output:\n"
)
DOCUMENT = (
    "### Task:\nRespond to the user query using the provided context.\n### Output:\nA clear answer.\n"
    '<context>\n<source id="1">A plan in JSON</source>\n</context>\n\n{}'
)

TASKS = {
    "title": TITLE,
    "title, with space around": f"\n  {TITLE} \n",
    "title, headings of four": TITLE.replace("### ", "#### "),
    "title in Portuguese": TITLE.replace("Task", "Tarefa").replace("Output", "Saída"),
    "tags": f'### Task:\nGenerate 1-3 broad tags.\n### Output:\nJSON format: {{ "tags": [] }}\n{CHAT}',
    "a chat that speaks of sources": TITLE.replace("My knee hurts.", "What does <source> mean in <context>?"),
    "a long chat": TITLE.replace("My knee hurts.", "word " * 20_000),
    "queries": f"### Task:\nAnalyze the chat history.\n### Output:\nStrictly return in JSON format:\n{{}}\n\n{CHAT}\n",
    "completion": COMPLETION,
    "emoji": "Your task is to reflect the speaker's likely facial expression through a fitting emoji.\n\n"
    "Message: ```Hi```",
    "mixture": 'You have been provided with a set of responses from various models to the latest user query: "x"\n\n'
    "Your task is to synthesize these.\n\nResponses from models: a, b",
    "librechat": "Provide a concise, 5-word-or-less title for the conversation, using title case conventions. "
    "Only return the title itself.\n\nConversation:\nUser: Hi\nAI: Hello",
    "librechat, assistants": "Please generate a concise title (max 40 characters) for a conversation that starts with:"
    "\nUser: Hi\nAssistant: Hello\n\nTitle:",
    "chatbox": "Based on the chat history, give this conversation a name.\nJust provide the name, nothing else.\n"
    "```\nHi\n```\nThe name is:",
}
TURNS = {
    "a question behind documents": DOCUMENT.format("When is my exam?"),
    "one that ends like a task": DOCUMENT.format("What is </chat_history>"),
    "one that quotes a chat": DOCUMENT.format("<chat_history>x</chat_history>"),
    "older documents": "### Task:\nAnswer.\n<context>JSON</context>\n<user_query>\nWhy?\n</user_query>",
    "a heading of one's own": "### Task:\nwrite a title for my talk, as JSON",
    "a task list": "### Tasks\n- [ ] call the physio\n### Output\nJSON please",
    "a wish": "Generate a concise title for this conversation.",
    "a title with a question behind it": f"{TITLE}\nWhat do you think of this prompt?",
    "a prompt that is quoted": f"What does this do?\n{TITLE}",
    "a name": "The name is:",
    "nothing asked": f"### Task:\nRead this.\n{CHAT.replace('Output', '')}",
    "no text": "",
}


@pytest.mark.parametrize("text", TASKS.values(), ids=TASKS)
def test_a_chat_uis_own_call_is_a_ui_task(text):
    assert looks_like_ui_task(text)


@pytest.mark.parametrize("text", TURNS.values(), ids=TURNS)
def test_in_doubt_a_call_is_a_turn(text):
    assert not looks_like_ui_task(text)


@pytest.mark.parametrize("filling", ["# ", "#", "# !", "autocomplet", "</text>", "\n "])
def test_no_text_takes_long_to_look_at(filling):
    began = time.process_time()

    looks_like_ui_task(f"### T\n{filling * (12_000 // len(filling))}</text>")

    assert time.process_time() - began < 0.05
