"""Records what transformers makes of conversations by chat templates shaped like the families', masks included.

    pip install -r test/golden/requirements.txt
    python test/golden/record-templates.py

The templates (data/templates/*.jinja, our own) mark what the model writes with {% generation %}, which gives transformers
its masks. heed needs no marks: the test also runs them without.
"""
import json
from pathlib import Path

import tokenizers
from transformers import PreTrainedTokenizerFast

from common import DATA, versions

FOLDER = DATA / "templates"
TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "Tells the weather at a place — now.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string", "description": "“City”"},
                                                    "days": {"type": "integer"}}, "required": ["place"]}}}]


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Zürich", "days": 2}}}
CONVERSATIONS = {
    "one turn": dict(messages=[user("Hello"), assistant("Hi.")]),
    "system and turns": dict(messages=[
        {"role": "system", "content": "Be brief."}, user("Roses?"), assistant("Red."), user("Violets?"), assistant("Blue.")]),
    "white space": dict(messages=[user("  two\n\n lines \n"), assistant("\n  padded 🙂 東京  \n"), user("?"), assistant("x")]),
    "no answer yet": dict(messages=[user("Hello"), assistant("Hi."), user("And?")]),
    "tools": dict(tools=TOOLS, messages=[
        {"role": "system", "content": "Use tools."}, user("Weather?"), assistant("", tool_calls=[CALL]),
        {"role": "tool", "content": "{\"sun\": true}"}, assistant("Sunny.")]),
    "thinking": dict(messages=[user("2 + 2?"), assistant("4", reasoning_content="Two and two\nis four.")]),
    "thinking in the text": dict(messages=[user("2 + 2?"), assistant("<think>\nEasy.\n</think>\n\n4")]),
    "thinking twice": dict(messages=[
        user("2 + 2?"), assistant("4", reasoning_content="Easy."), user("3 + 3?"), assistant("6", reasoning_content="Hm.")]),
    "thinking off": dict(variables={"enable_thinking": False}, messages=[user("2 + 2?"), assistant("4")]),
    "two users": dict(messages=[user("a"), user("b"), assistant("c")]),
}
TOKENIZERS = {"chatml": "smollm2", "headers": "llama3", "thinking": "qwen", "turns": "gemma"}


def record(name, family):
    place = DATA / "tokenizers" / family
    config = json.loads((place / "tokenizer_config.json").read_text("utf-8"))
    config.pop("tokenizer_class")
    library = PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_file(str(place / "tokenizer.json")), **config)
    library.chat_template = (FOLDER / f"{name}.jinja").read_text("utf-8")
    cases = {}
    for title, given in CONVERSATIONS.items():
        options = dict(tools=given.get("tools"), **given.get("variables", {}))
        try:
            messages = given["messages"]
            out = library.apply_chat_template(messages, tokenize=True, return_dict=True,
                                              return_assistant_tokens_mask=True, **options)
            cases[title] = {
                "text": library.apply_chat_template(messages, tokenize=False, **options),
                "prompt": library.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True, **options),
                "ids": out["input_ids"], "mask": out["assistant_masks"]}
        except Exception as error:
            cases[title] = {"error": str(error)}
    return {"tokenizer": family, "cases": cases}


(FOLDER / "recorded.json").write_text(json.dumps({
    "versions": versions(tokenizers), "conversations": CONVERSATIONS,
    "templates": {name: record(name, family) for name, family in TOKENIZERS.items()}}, indent=0) + "\n", "utf-8")
for name, family in TOKENIZERS.items():
    print(name, {k: v.get("error", sum(v.get("mask", []))) for k, v in record(name, family)["cases"].items()})
