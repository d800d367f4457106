"""Records what transformers generates with two real GGUF files; the files themselves are not in the repository.

    node examples/real-models.mjs models      (fetches them)
    python test/golden/record-real-models.py models

Greedy tokens in float32 with eager attention on the dequantised weights; `margin` is the least distance of the two best
logits on the way. Takes about a minute and 4 GB.
"""
import hashlib
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import DATA, rounded, versions, write_json

MODELS = {
    "SmolLM2-135M-Instruct.Q4_1.gguf": (
        True, ["What is gravity?", "Write a haiku about the sea.", "Name three prime numbers above 20."]),
    "gemma-3-270m-q4_k_m.gguf": (
        False, ["The capital of France is", "Once upon a time", "def fibonacci(n):"]),
}
torch.set_num_threads(2)
folder = Path(sys.argv[1])
record = {}
for file, (chat, prompts) in MODELS.items():
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32,
                                                 attn_implementation="eager").eval()
    cases = []
    for prompt in prompts:
        if chat:
            prompt = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False,
                                                   add_generation_prompt=True)
        ids = tokenizer(prompt, add_special_tokens=not chat).input_ids
        with torch.no_grad():
            whole = model.generate(torch.tensor([ids]), max_new_tokens=48, do_sample=False,
                                   eos_token_id=tokenizer.eos_token_id)
            logits = model(whole).logits[0, len(ids) - 1:-1]
        made = whole[0, len(ids):].tolist()
        best = logits.topk(2).values
        cases.append({"prompt": prompt, "ids": ids, "greedy": made, "text": tokenizer.decode(made),
                      "margin": rounded((best[:, 0] - best[:, 1]).min().item(), 3)})
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    record[file] = {"sha256": digest, "chat": chat, "cases": cases}
write_json(DATA / "real-models.json", {"versions": versions(), "models": record})
