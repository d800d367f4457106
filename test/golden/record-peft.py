"""Records logits and gradients of adapters that peft made over the tiny models of the other recorders.

    pip install -r test/golden/requirements.txt
    python test/golden/record-peft.py [name …]

Writes data/peft-<name>/: adapter_config.json and adapter_model.safetensors as `save_pretrained` wrote them, and
recorded.json with logits, loss and the norm of the gradient of every trained tensor, in float64. `nearest` is how far the
logits of wrong variants are: the base model alone, and the same matrices under another scale.
"""
import json
import logging
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import peft
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from common import DATA, rounded, softmax_in_given_type, to_float64, versions, write_json

logging.getLogger("transformers").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")
torch.set_num_threads(2)
torch.nn.functional.softmax = softmax_in_given_type

IDS = [5, 17, 2, 2, 11, 23, 0, 9, 14, 1, 20, 7]

# name: folder of the base, and settings of LoraConfig.
VARIANTS = {
    "llama": ("llama-plain", dict(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj"])),
    "llama-rslora-patterns": ("llama-grouped-tied", dict(
        r=4, lora_alpha=6, target_modules="all-linear", use_rslora=True,
        rank_pattern={"q_proj": 2, r"layers\.1\.mlp\.(up|down)_proj": 3}, alpha_pattern={"mlp.down_proj": 9})),
    "llama-score": ("llama-score", dict(r=2, lora_alpha=4, target_modules="all-linear", task_type="SEQ_CLS")),
    "llama-dora": ("llama-biases", dict(r=2, lora_alpha=4, target_modules=["o_proj", "gate_proj", "down_proj"],
                                        use_dora=True, bias="lora_only")),
    "gpt2": ("gpt2-plain", dict(r=3, lora_alpha=6, target_modules=["c_attn", "c_proj", "c_fc"], bias="lora_only",
                                fan_in_fan_out=True)),
    "gpt2-dora": ("gpt2-plain", dict(r=2, lora_alpha=4, target_modules=["c_attn", "c_fc"], use_dora=True, bias="all",
                                     fan_in_fan_out=True, modules_to_save=["wpe"])),
    "qwen2-head": ("qwen2-window", dict(r=2, lora_alpha=8, target_modules=["k_proj", "up_proj", "lm_head"],
                                        bias="lora_only", modules_to_save=["norm"])),
    "qwen2-tied": ("qwen2-full", dict(r=2, lora_alpha=8, target_modules=["k_proj"], modules_to_save=["embed_tokens"],
                                      ensure_weight_tying=True)),
    "gemma3": ("gemma3_text-pattern", dict(r=4, lora_alpha=4, target_modules=r".*layers\.[02]\..*(?P<which>q|o|up)_proj")),
    "phi3": ("phi3-full", dict(r=2, lora_alpha=4, target_modules=["qkv_proj", "gate_up_proj"], use_rslora=True)),
    "gpt_neox": ("gpt_neox-parallel", dict(r=2, lora_alpha=4, target_modules="all-linear", use_dora=True)),
    "bert": ("bert-pairs", dict(r=2, lora_alpha=4, target_modules="all-linear", task_type="SEQ_CLS")),
    "modernbert": ("modernbert-options", dict(r=2, lora_alpha=6, target_modules=["Wqkv", "Wi"], use_dora=True,
                                              bias="lora_only", task_type="SEQ_CLS")),
}


def base_model(folder, settings):
    kind = AutoModelForSequenceClassification if settings.get("task_type") == "SEQ_CLS" else AutoModelForCausalLM
    return kind.from_pretrained(DATA / folder, dtype=torch.float32, attn_implementation="eager").eval()


def disturb(model):
    """Numbers away from the start for everything trained, so that each part of the adapter shows."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in sorted(model.named_parameters()):
        if not parameter.requires_grad:
            continue
        noise = torch.randn(parameter.shape, generator=generator)
        if "lora_A" in name or "lora_B" in name:
            parameter.data = 0.4 * noise
        else:
            parameter.data = parameter.data * (1 + 0.2 * noise) + 0.1 * noise


def record(name, base, settings):
    vocabulary = json.loads((DATA / base / "config.json").read_text("utf-8"))["vocab_size"]
    ids = [token % vocabulary for token in IDS]
    folder = DATA / f"peft-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    config = LoraConfig(**{"task_type": "CAUSAL_LM", **settings})
    model = get_peft_model(base_model(base, settings), config)
    disturb(model)
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        folder.mkdir()
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(Path(place) / file, folder / file)
    text = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    text["base_model_name_or_path"] = f"../{base}"
    if isinstance(text["target_modules"], list):
        text["target_modules"].sort()  # a set, whose order changes from run to run
    (folder / "adapter_config.json").write_text(json.dumps(text, indent=1, sort_keys=True) + "\n", "utf-8")

    def outputs(scale=None, adapter=True):
        if not adapter:
            return to_float64(base_model(base, settings), "eager")(torch.tensor([ids])).logits[0], None
        loaded = PeftModel.from_pretrained(base_model(base, settings), folder, is_trainable=True)
        if scale is not None:
            for module in loaded.modules():
                if isinstance(getattr(module, "scaling", None), dict):
                    module.scaling = {key: value * scale for key, value in module.scaling.items()}
        to_float64(loaded, "eager").eval()
        return loaded(torch.tensor([ids])).logits[0], loaded

    logits, loaded = outputs()
    largest = logits.abs().max()
    with torch.no_grad():
        nearest = {label: rounded(((other - logits).abs().max() / largest).item(), 2) for label, other in {
            "base": outputs(adapter=False)[0], "scale 1.05": outputs(scale=1.05)[0]}.items()}
    assert min(nearest.values()) > 1e-3, (name, nearest)
    sequence = settings.get("task_type") == "SEQ_CLS"
    loss = logits.sum() if sequence else torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]))
    loss.backward()
    gradients = {key.replace(".default", "").replace("modules_to_save.", "").replace("base_model.model.", ""):
                 value.grad.norm().item() for key, value in loaded.named_parameters() if value.requires_grad}
    assert all(value > 0 for value in gradients.values()), name
    write_json(folder / "recorded.json", {
        "versions": versions(peft), "base": base, "ids": ids, "adapterLogits": rounded(logits),
        "loss": rounded(loss.item(), 14), "gradientNorms": rounded(dict(sorted(gradients.items())), 12),
        "nearest": nearest,
    })


for name in sys.argv[1:] or VARIANTS:
    record(name, *VARIANTS[name])
