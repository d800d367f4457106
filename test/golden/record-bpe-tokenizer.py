"""Records the ids that the Python library gives for the tokenizers that trainBpe wrote.

    HEED_RECORD=1 npx vitest run test/golden/tokenizer.test.ts   (writes tokenizer.json and texts.json)
    pip install tokenizers==0.23.3
    python test/golden/record-bpe-tokenizer.py
"""
import json
from pathlib import Path

import tokenizers

FOLDER = Path(__file__).parent / "data" / "bpe-tokenizer"

for definition in sorted(FOLDER.glob("*/tokenizer.json")):
    tokenizer = tokenizers.Tokenizer.from_file(str(definition))
    cases = []
    for text in json.loads((FOLDER / "texts.json").read_text("utf-8")):
        ids = tokenizer.encode(text).ids
        cases.append({
            "text": text,
            "ids": ids,
            "plainIds": tokenizer.encode(text, add_special_tokens=False).ids,
            "decoded": tokenizer.decode(ids, skip_special_tokens=True),
            "decodedWithSpecial": tokenizer.decode(ids, skip_special_tokens=False),
        })
    record = {"tokenizers": tokenizers.__version__, "cases": cases}
    target = definition.with_name("recorded.json")
    target.write_text(json.dumps(record, ensure_ascii=True) + "\n", "utf-8")
    print(target, len(cases))
