"""Records logits and gradients of small decoders of every architecture but Llama (record-llama.py) from transformers.

    pip install -r test/golden/requirements.txt
    python test/golden/record-decoders.py [name …]

Writes data/<name>/ (weights, both forms of the config, recorded.json, gradients.safetensors), all of them or those named.
`nearest` in recorded.json is how far the logits of wrong variants are, by the same library with the same weights: one
detail changed at a time, largest difference over largest logit.
"""
import copy
import json
import logging
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from common import DATA, draw, rounded, softmax_in_given_type, to_float64, versions, write_json

logging.getLogger("transformers").setLevel(logging.ERROR)
torch.set_num_threads(2)
torch.nn.functional.softmax = softmax_in_given_type

IDS = [5, 17, 2, 2, 11, 23, 0, 9, 14, 1, 20, 7]

# PyTorch gives the embedding of the padding token no gradient: it is one that does not occur.
# Windows of 4 and 5 are short enough that most of the twelve tokens reach past them.
LLAMA_LIKE = dict(
    vocab_size=24, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=1000.0, hidden_act="silu",
    initializer_range=0.02,
)
GPT2 = dict(vocab_size=24, n_embd=16, n_layer=2, n_head=2, n_positions=64, layer_norm_epsilon=1e-5,
            activation_function="gelu_new", initializer_range=0.02)
NEOX = dict(vocab_size=24, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=64, layer_norm_eps=1e-5, hidden_act="gelu", rotary_emb_base=1000,
            initializer_range=0.02)
GEMMA = dict(
    vocab_size=24, hidden_size=12, intermediate_size=20, num_hidden_layers=3, num_attention_heads=2,
    num_key_value_heads=1, head_dim=8, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=1000.0,
    hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=5, sliding_window=4, initializer_range=0.02,
    pad_token_id=3,
)
GEMMA2 = dict(GEMMA, final_logit_softcapping=4.0, attn_logit_softcapping=2.0)
GEMMA3 = dict(GEMMA, sliding_window_pattern=3, rope_local_base_freq=100.0,
              rope_scaling={"rope_type": "linear", "factor": 8.0})


def without_head_norms(model):
    for module in model.modules():
        for name in ("q_norm", "k_norm"):
            if hasattr(module, name):
                setattr(module, name, torch.nn.Identity())


def swapped(attribute):
    """Keys of a fused projection where queries should be, for instance: the rows of a weight in another order."""
    def change(model):
        for name, parameter in model.named_parameters():
            if attribute in name:
                axis = 1 if model.config.model_type == "gpt2" and parameter.dim() == 2 else 0
                parameter.data = parameter.data.roll(parameter.shape[axis] // 2, axis)
    return change


def without_positions(model):
    model.transformer.wpe.weight.data.zero_()


def plain_norm_weights(model):
    for module in model.modules():
        if type(module).__name__ == "Float64CentredRMSNorm":
            module.weight.data -= 1


# name: model_type, settings, and wrong variants: changes of the settings, or of the model.
VARIANTS = {
    "mistral-window": ("mistral", dict(LLAMA_LIKE, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
                                       sliding_window=5), {
        "no window": dict(sliding_window=None), "window 4": dict(sliding_window=4), "window 6": dict(sliding_window=6)}),
    "mistral-full": ("mistral", dict(LLAMA_LIKE, sliding_window=None, tie_word_embeddings=True), {
        "window": dict(sliding_window=11), "theta": dict(rope_theta=10000.0)}),
    "qwen2-full": ("qwen2", dict(LLAMA_LIKE, use_sliding_window=False, sliding_window=4, max_window_layers=0,
                                 tie_word_embeddings=True), {
        "window": dict(use_sliding_window=True), "theta": dict(rope_theta=10000.0)}),
    "qwen2-window": ("qwen2", dict(LLAMA_LIKE, use_sliding_window=True, sliding_window=4, max_window_layers=1), {
        "no window": dict(use_sliding_window=False), "in all layers": dict(max_window_layers=0),
        "other layer": dict(layer_types=["sliding_attention", "full_attention"])}),
    "qwen3-full": ("qwen3", dict(LLAMA_LIKE, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
                                 tie_word_embeddings=True, attention_bias=False), {
        "no head norms": without_head_norms, "theta": dict(rope_theta=10000.0)}),
    "qwen3-window": ("qwen3", dict(LLAMA_LIKE, head_dim=6, attention_bias=True, use_sliding_window=True, sliding_window=4,
                                   layer_types=["sliding_attention", "full_attention"]), {
        "other layer": dict(layer_types=["full_attention", "sliding_attention"]), "no head norms": without_head_norms}),
    "gpt2-plain": ("gpt2", GPT2, {
        "exact gelu": dict(activation_function="gelu"), "no positions": without_positions,
        "unscaled": dict(scale_attn_weights=False), "order of q, k, v": swapped("c_attn")}),
    "gpt2-options": ("gpt2", dict(GPT2, n_inner=20, activation_function="relu", scale_attn_by_inverse_layer_idx=True,
                                  tie_word_embeddings=False), {
        "same scale": dict(scale_attn_by_inverse_layer_idx=False), "gelu": dict(activation_function="gelu_new")}),
    "gpt_neox-parallel": ("gpt_neox", dict(NEOX, rotary_pct=0.5), {
        "sequential": dict(use_parallel_residual=False), "tanh gelu": dict(hidden_act="gelu_new"),
        "rotary_pct 0.25": dict(rotary_pct=0.25), "rotary_pct 1": dict(rotary_pct=1.0),
        "order of q, k, v": swapped("query_key_value")}),
    "gpt_neox-sequential": ("gpt_neox", dict(NEOX, rotary_pct=1.0, use_parallel_residual=False, attention_bias=False), {
        "parallel": dict(use_parallel_residual=True), "rotary_pct 0.5": dict(rotary_pct=0.5)}),
    "phi3-full": ("phi3", dict(LLAMA_LIKE, sliding_window=None, pad_token_id=3), {
        "order of q, k, v": swapped("qkv_proj"), "order of gate, up": swapped("gate_up"),
        "theta": dict(rope_theta=10000.0)}),
    "phi3-window": ("phi3", dict(LLAMA_LIKE, sliding_window=4, pad_token_id=3, partial_rotary_factor=0.5,
                                 tie_word_embeddings=True), {
        "no window": dict(sliding_window=None), "window 5": dict(sliding_window=5),
        "whole rotation": dict(partial_rotary_factor=1.0)}),
    "gemma2-capped": ("gemma2", GEMMA2, {
        "no final cap": dict(final_logit_softcapping=None), "no score cap": dict(attn_logit_softcapping=None),
        "scale of head size": dict(query_pre_attn_scalar=8), "window 5": dict(sliding_window=5),
        "exact gelu": dict(hidden_activation="gelu"), "weight, not 1 + weight": plain_norm_weights,
        "other layers": dict(layer_types=["full_attention", "sliding_attention", "full_attention"])}),
    "gemma2-uncapped": ("gemma2", dict(GEMMA2, final_logit_softcapping=None, attn_logit_softcapping=None,
                                       layer_types=["full_attention", "full_attention", "sliding_attention"]), {
        "caps": dict(final_logit_softcapping=4.0), "score caps": dict(attn_logit_softcapping=2.0),
        "usual layers": dict(layer_types=None)}),
    "gemma3_text-pattern": ("gemma3_text", GEMMA3, {
        "one theta": dict(rope_local_base_freq=1000.0), "no scaling": dict(rope_scaling=None),
        "no head norms": without_head_norms, "window 5": dict(sliding_window=5),
        "pattern 2": dict(sliding_window_pattern=2), "exact gelu": dict(hidden_activation="gelu")}),
    "gemma3_text-capped": ("gemma3_text", dict(GEMMA3, rope_scaling=None, final_logit_softcapping=4.0,
                                               layer_types=["full_attention", "sliding_attention", "full_attention"]), {
        "no final cap": dict(final_logit_softcapping=None), "pattern": dict(layer_types=None)}),
}


def config_of(model_type, settings):
    """The library's config from settings as transformers 4 wrote them."""
    given = json.loads(json.dumps(settings))
    return AutoConfig.for_model(model_type).__class__.from_dict(given)


def model_of(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def save_weights(model, file):
    """Under the names that checkpoints of this architecture have."""
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        (Path(place) / "model.safetensors").replace(file)


def record(name, model_type, settings, wrong):
    folder = DATA / name
    folder.mkdir(parents=True, exist_ok=True)
    config = config_of(model_type, settings)
    old = {"model_type": model_type, **settings, "torch_dtype": "float32"}
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    centre = 0.0 if model_type.startswith("gemma") else 1.0
    state = draw([(key, tuple(value.shape)) for key, value in model.named_parameters()], seed=1, centre=centre)
    model.load_state_dict(state, strict=False)
    save_weights(model, folder / "model.safetensors")

    # The newer form gives the same logits; it is stored as a second file that nothing loads by default.
    ids = torch.tensor([IDS])
    new = config.to_diff_dict()
    (folder / "config.json").write_text(json.dumps(new), "utf-8")
    newer = to_float64(model_of(folder), "eager")(ids).logits[0]
    (folder / "config.transformers-5.json").write_text(json.dumps(new, indent=1, sort_keys=True) + "\n", "utf-8")
    (folder / "config.json").write_text(json.dumps(old, indent=1) + "\n", "utf-8")
    library = model_of(folder)(ids).logits[0]
    model = to_float64(model_of(folder), "eager")
    logits = model(ids).logits[0]
    assert torch.equal(newer, logits), name

    scale = logits.abs().max()
    nearest = {}
    for label, change in wrong.items():
        if callable(change):
            other = copy.deepcopy(model)
            change(other)
        else:
            other = AutoModelForCausalLM.from_config(config_of(model_type, {**settings, **change}),
                                                     attn_implementation="eager").eval()
            other.load_state_dict(model_of(folder).state_dict(), strict=False)
            other = to_float64(other, "eager")
        with torch.no_grad():
            nearest[label] = rounded(((other(ids).logits[0] - logits).abs().max() / scale).item(), 2)
        assert nearest[label] > 1e-4, (name, label, nearest[label])

    loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(IDS[1:]))
    loss.backward()
    gradients = model_of(folder)
    named = dict(gradients.named_parameters())
    norm = 0.0
    for key, value in model.named_parameters():
        named[key].data = value.grad.float().contiguous()
        norm += value.grad.pow(2).sum().item()
    save_weights(gradients, folder / "gradients.safetensors")
    write_json(folder / "recorded.json", {
        "versions": versions(), "ids": IDS, "logits": rounded(logits), "loss": rounded(loss.item(), 14),
        "float32Deviation": rounded((library.double() - logits).abs().max().item(), 3),
        "gradientNorm": rounded(norm ** 0.5, 12), "nearest": nearest,
    })


for name in sys.argv[1:] or VARIANTS:
    record(name, *VARIANTS[name])
