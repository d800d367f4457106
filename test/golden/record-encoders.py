"""Records logits and gradients of small encoders for sequence classification from transformers.

    pip install -r test/golden/requirements.txt
    python test/golden/record-encoders.py [name …]

Writes data/<name>/ (weights, both forms of the config, recorded.json, gradients.safetensors), all of them or those named.
The second row of the batch is padded, so that masks count. `nearest` is as in record-decoders.py.
"""
import copy
import json
import logging
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from common import DATA, draw, rounded, softmax_in_given_type, to_float64, versions, write_json

logging.getLogger("transformers").setLevel(logging.ERROR)
torch.set_num_threads(2)
torch.nn.functional.softmax = softmax_in_given_type

PAD = 3
IDS = [[5, 17, 2, 2, 11, 23, 0, 9, 14, 1], [8, 4, 21, 10, 6, 12, PAD, PAD, PAD, PAD]]
COUNTED = [[int(id != PAD) for id in row] for row in IDS]
TYPES = [[0, 0, 0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 0, 0, 0, 0]]
LABELS = [2, 0]

COMMON = dict(vocab_size=24, hidden_size=16, intermediate_size=20, num_attention_heads=2, max_position_embeddings=32,
              pad_token_id=PAD, initializer_range=0.02, id2label={"0": "no", "1": "maybe", "2": "yes"},
              label2id={"no": 0, "maybe": 1, "yes": 2}, num_hidden_layers=2)
BERT = dict(COMMON, hidden_act="gelu", type_vocab_size=2, layer_norm_eps=1e-6)
MODERN = dict(COMMON, num_hidden_layers=4, hidden_activation="gelu", global_attn_every_n_layers=3, local_attention=4,
              global_rope_theta=1000.0, local_rope_theta=100.0, norm_eps=1e-5)

VARIANTS = {
    "bert-pairs": ("bert", BERT, {
        "tanh gelu": dict(hidden_act="gelu_new"), "norm epsilon": dict(layer_norm_eps=1e-2),
        "four heads": dict(num_attention_heads=4)}),
    "bert-relu": ("bert", dict(BERT, hidden_act="relu", num_attention_heads=4, type_vocab_size=1), {
        "gelu": dict(hidden_act="gelu"), "two heads": dict(num_attention_heads=2)}),
    "modernbert-cls": ("modernbert", MODERN, {
        "all global": dict(global_attn_every_n_layers=1), "every second": dict(global_attn_every_n_layers=2),
        "window 2": dict(local_attention=2), "window 6": dict(local_attention=6),
        "one theta": dict(local_rope_theta=1000.0), "mean": dict(classifier_pooling="mean"),
        "tanh gelu": dict(hidden_activation="gelu_new")}),
    "modernbert-options": ("modernbert", dict(
        MODERN, classifier_pooling="mean", norm_bias=True, attention_bias=True, mlp_bias=True, classifier_bias=True,
        classifier_activation="silu", global_attn_every_n_layers=2, local_attention=3), {
        "cls": dict(classifier_pooling="cls"), "head of gelu": dict(classifier_activation="gelu"),
        "window 4": dict(local_attention=4)}),
}


def config_of(model_type, settings):
    return AutoConfig.for_model(model_type).__class__.from_dict(json.loads(json.dumps(settings)))


def model_of(folder):
    return AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()


def save_weights(model, file):
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        (Path(place) / "model.safetensors").replace(file)


def record(name, model_type, settings, wrong):
    folder = DATA / name
    folder.mkdir(parents=True, exist_ok=True)
    config = config_of(model_type, settings)
    old = {"model_type": model_type, "architectures": [type(AutoModelForSequenceClassification.from_config(config)).__name__],
           **settings, "torch_dtype": "float32"}
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").float().eval()
    state = draw([(key, tuple(value.shape)) for key, value in model.named_parameters()], seed=1)
    model.load_state_dict(state, strict=False)
    save_weights(model, folder / "model.safetensors")

    inputs = dict(input_ids=torch.tensor(IDS), attention_mask=torch.tensor(COUNTED))
    if model_type == "bert" and settings["type_vocab_size"] > 1:
        inputs["token_type_ids"] = torch.tensor(TYPES)
    new = {**config.to_diff_dict(), "architectures": old["architectures"]}
    (folder / "config.json").write_text(json.dumps(new), "utf-8")
    newer = to_float64(model_of(folder), "eager")(**inputs).logits
    (folder / "config.transformers-5.json").write_text(json.dumps(new, indent=1, sort_keys=True) + "\n", "utf-8")
    (folder / "config.json").write_text(json.dumps(old, indent=1) + "\n", "utf-8")
    library = model_of(folder)(**inputs).logits
    model = to_float64(model_of(folder), "eager")
    logits = model(**inputs).logits
    assert torch.equal(newer, logits), name

    scale = logits.abs().max()
    nearest = {}
    for label, change in wrong.items():
        other = AutoModelForSequenceClassification.from_config(
            config_of(model_type, {**settings, **change}), attn_implementation="eager").eval()
        other.load_state_dict(model_of(folder).state_dict(), strict=False)
        with torch.no_grad():
            other = to_float64(other, "eager")(**inputs).logits
        nearest[label] = rounded(((other - logits).abs().max() / scale).item(), 2)
        assert nearest[label] > 5e-5, (name, label, nearest[label])
    with torch.no_grad():
        unmasked = copy.deepcopy(model)(**{**inputs, "attention_mask": torch.ones_like(inputs["attention_mask"])}).logits
    nearest["no mask"] = rounded(((unmasked - logits).abs().max() / scale).item(), 2)
    assert nearest["no mask"] > 1e-4, name

    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(LABELS))
    loss.backward()
    gradients = model_of(folder)
    named = dict(gradients.named_parameters())
    for key, value in model.named_parameters():
        named[key].data = (torch.zeros_like(value) if value.grad is None else value.grad).float().contiguous()
    save_weights(gradients, folder / "gradients.safetensors")
    write_json(folder / "recorded.json", {
        "versions": versions(), "ids": IDS, "counted": COUNTED,
        **({"types": TYPES} if "token_type_ids" in inputs else {}), "labels": LABELS,
        "scores": rounded(logits), "loss": rounded(loss.item(), 14),
        "float32Deviation": rounded((library.double() - logits).abs().max().item(), 3), "nearest": nearest,
    })


for name in sys.argv[1:] or VARIANTS:
    record(name, *VARIANTS[name])
