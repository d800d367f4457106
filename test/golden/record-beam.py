"""Records beam searches of a tiny Llama (data/llama-grouped-tied) by transformers.

    pip install -r test/golden/requirements.txt
    python test/golden/record-beam.py

Writes data/beam.json: prompts, settings, and for each the sequences (without the prompt) and scores that
`generate(num_beams=…, num_return_sequences=…)` gives.
"""
import torch
from transformers import AutoModelForCausalLM

from common import DATA, versions, write_json

torch.set_num_threads(1)
MODEL = "llama-grouped-tied"
model = AutoModelForCausalLM.from_pretrained(DATA / MODEL, dtype=torch.float32).eval()
PROMPTS = [[5, 17, 2], [11], [0, 9, 14, 1, 20, 7]]
SETTINGS = [
    dict(num_beams=2),
    dict(num_beams=4),
    dict(num_beams=4, length_penalty=0.0),
    dict(num_beams=4, length_penalty=2.0, early_stopping=True),
    dict(num_beams=4, length_penalty=1.5, early_stopping="never"),
    dict(num_beams=3, length_penalty=-1.0, early_stopping="never"),
    dict(num_beams=5, min_new_tokens=4, early_stopping=True),
    dict(num_beams=3, repetition_penalty=1.8),
]
# Tokens that the model finds likely, so that sequences end at different lengths.
EOS = [8, 22]
cases = []
for prompt in PROMPTS:
    for settings in SETTINGS:
        made = model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), max_new_tokens=9,
            do_sample=False, eos_token_id=EOS, pad_token_id=0, num_return_sequences=settings["num_beams"],
            output_scores=True, return_dict_in_generate=True, **settings,
        )
        sequences = []
        for row in made.sequences.tolist():
            ids = row[len(prompt):]
            end = next((i + 1 for i, token in enumerate(ids) if token in EOS), len(ids))
            sequences.append(ids[:end])
        cases.append(dict(prompt=prompt, settings=settings, sequences=sequences,
                          scores=[round(score, 6) for score in made.sequences_scores.tolist()]))
write_json(DATA / "beam.json", dict(versions=versions(), model=MODEL, eos=EOS, maxNewTokens=9, cases=cases))
