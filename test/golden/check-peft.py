"""Loads adapters that heed wrote with peft and records its logits.

    HEED_PEFT_OUTPUT=/tmp/adapters npx vitest run test/golden/peft.test.ts
    python test/golden/check-peft.py /tmp/adapters

Writes data/peft-written.json: for every adapter the SHA-256 of its two files, peft's logits in float64, and the largest
difference of heed's (float64 interpreter) over the largest logit. Fails when that is 1e-6 or more.
"""
import hashlib
import json
import sys
from pathlib import Path

import peft
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from common import DATA, rounded, softmax_in_given_type, to_float64, versions, write_json

torch.nn.functional.softmax = softmax_in_given_type
record = {}
for folder in sorted(Path(sys.argv[1]).glob("written-*")):
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    given = json.loads((folder / "logits.json").read_text("utf-8"))
    kind = AutoModelForSequenceClassification if config["task_type"] == "SEQ_CLS" else AutoModelForCausalLM
    base = kind.from_pretrained(DATA / config["base_model_name_or_path"], dtype=torch.float32,
                                attn_implementation="eager")
    model = PeftModel.from_pretrained(base, folder)
    with torch.no_grad():
        logits = to_float64(model, "eager").eval()(torch.tensor([given["ids"]])).logits[0].flatten()
    difference = ((logits - torch.tensor(given["logits"])).abs().max() / logits.abs().max()).item()
    hashed = hashlib.sha256()
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        hashed.update((folder / file).read_bytes())
    name = folder.name.removeprefix("written-")
    print(name, difference)
    assert difference < 1e-6, (name, difference)
    record[name] = {"sha256": hashed.hexdigest(), "difference": rounded(difference, 2), "logits": rounded(logits)}
write_json(DATA / "peft-written.json", {"versions": versions(peft), "adapters": record})
