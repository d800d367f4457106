"""Records logits and gradients of small Llama configurations and of stories260K from transformers.

    pip install -r test/golden/requirements.txt
    python test/golden/record-llama.py [folder with stories260K/hf]

Writes data/llama-<name>/ (weights, both forms of the config, recorded.json, for some gradients.safetensors) and, when
the folder is given, data/stories260K.json.
"""
import json
import logging
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from common import DATA, draw, rounded, to_float64, versions, write_json

logging.getLogger("transformers").setLevel(logging.ERROR)
torch.set_num_threads(2)

IDS = [5, 17, 2, 2, 11, 23, 0, 9, 14, 1, 20, 7]

PLAIN = dict(
    vocab_size=24, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=4, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=10000.0,
    tie_word_embeddings=False, attention_bias=False, mlp_bias=False,
)
# Two heads of 16 have eight frequencies; a short period of the slowest and a short original context put some of them
# into each regime of the scaling rules within the 12 positions of the input.
ROPE = dict(PLAIN, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
            tie_word_embeddings=True, rope_theta=100.0)

VARIANTS = {
    "plain": PLAIN,
    "grouped-tied": dict(PLAIN, num_key_value_heads=2, tie_word_embeddings=True),
    "multi-query": dict(PLAIN, num_key_value_heads=1, num_hidden_layers=1),
    "biases": dict(PLAIN, attention_bias=True, mlp_bias=True, num_key_value_heads=2, tie_word_embeddings=True),
    "head-size": dict(PLAIN, head_dim=6, num_key_value_heads=2, num_hidden_layers=1),
    "rms-eps": dict(PLAIN, rms_norm_eps=0.1, num_hidden_layers=1, tie_word_embeddings=True),
    "rope-default": ROPE,
    "rope-linear": dict(ROPE, rope_scaling={"rope_type": "linear", "factor": 4.0}),
    # Twelve positions outgrow eight, so that the base is stretched.
    "rope-dynamic": dict(ROPE, rope_scaling={"rope_type": "dynamic", "factor": 2.0}, max_position_embeddings=8),
    "rope-llama3": dict(ROPE, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 24}),
    "rope-yarn": dict(ROPE, rope_scaling={
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 2.0}),
    "rope-yarn-options": dict(ROPE, rope_scaling={
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 2.0,
        "beta_slow": 0.3, "attention_factor": 0.8, "truncate": False}),
}
WITH_GRADIENTS = {"plain", "grouped-tied", "biases"}


def old_config(settings):
    """config.json as transformers 4 wrote it."""
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "bos_token_id": 1,
            "eos_token_id": 2, **settings, "torch_dtype": "float32"}


def logits_of(folder, float64):
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    if float64:
        model = to_float64(model)
    return model, model(torch.tensor([IDS])).logits[0]


def record(name, settings):
    folder = DATA / f"llama-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    old = old_config(settings)
    config = LlamaConfig.from_dict(json.loads(json.dumps(old)))
    state = draw([(key, tuple(value.shape)) for key, value in LlamaForCausalLM(config).state_dict().items()
                  if not (key == "lm_head.weight" and settings["tie_word_embeddings"])], seed=1)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    # The newer form gives the same logits; it is stored as a second file that nothing loads by default.
    new = LlamaConfig.from_dict(json.loads(json.dumps(old))).to_diff_dict()
    (folder / "config.json").write_text(json.dumps(new), "utf-8")
    newer = logits_of(folder, True)[1]
    (folder / "config.transformers-5.json").write_text(json.dumps(new, indent=1, sort_keys=True) + "\n", "utf-8")
    (folder / "config.json").write_text(json.dumps(old, indent=1) + "\n", "utf-8")
    model, logits = logits_of(folder, True)
    assert torch.equal(newer, logits), name
    library = logits_of(folder, False)[1]

    targets = torch.tensor(IDS[1:])
    loss = torch.nn.functional.cross_entropy(logits[:-1], targets)
    recorded = {
        "versions": versions(),
        "ids": IDS,
        "logits": rounded(logits),
        "loss": rounded(loss.item(), 14),
        "float32Deviation": rounded((library.double() - logits).abs().max().item(), 3),
    }
    if name in WITH_GRADIENTS:
        loss.backward()
        gradients = {key: value.grad.float().contiguous() for key, value in model.named_parameters()}
        save_file(gradients, folder / "gradients.safetensors", metadata={"format": "pt"})
        recorded["gradientNorm"] = rounded(
            torch.stack([value.grad.pow(2).sum() for value in model.parameters()]).sum().sqrt().item(), 12)
    write_json(folder / "recorded.json", recorded)
    return logits.detach()


def record_stories(folder):
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    exact = to_float64(LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)).eval()
    stories = json.loads((folder.parent / "reference.json").read_text("utf-8"))["cases"]
    texts = [stories[0]["greedy_ids"][:96], [(7 * i * i + 3 * i + 1) % 512 for i in range(64)]]
    logit_cases = []
    for ids in texts:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
            deviation = (exact(torch.tensor([ids])).logits[0] - logits.double()).abs().max().item()
        positions = [0, 1, len(ids) // 2, len(ids) - 1]
        logit_cases.append({"ids": ids, "positions": positions, "logits": rounded(logits[positions], 8),
                            "float64Deviation": rounded(deviation, 3)})
    greedy = []
    for case in stories[:3]:
        prompt = case["ids"]
        with torch.no_grad():
            ids = model.generate(torch.tensor([prompt]), max_new_tokens=64, do_sample=False, eos_token_id=None,
                                 pad_token_id=0)[0].tolist()
            top = exact(torch.tensor([ids])).logits[0].topk(2).values
        margin = (top[:, 0] - top[:, 1])[len(prompt) - 1:-1].min().item()
        assert len(ids) == len(prompt) + 64
        greedy.append({"prompt": prompt, "completion": ids[len(prompt):], "smallestMargin": rounded(margin, 3)})
    write_json(DATA / "stories260K.json", {"versions": versions(), "logits": logit_cases, "greedy": greedy})


recorded = {name: record(name, settings) for name, settings in VARIANTS.items()}
ropes = [name for name in VARIANTS if name.startswith("rope-")]
for index, name in enumerate(ropes):
    for other in ropes[:index]:
        distance = (recorded[name] - recorded[other]).abs().max().item()
        print(f"{name} differs from {other} by {distance:.3f}")
        assert distance > 0.01
if len(sys.argv) > 1:
    with torch.no_grad():
        record_stories(Path(sys.argv[1]) / "stories260K" / "hf")
