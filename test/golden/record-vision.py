"""Records a small SigLIP vision encoder and a LLaVA with one from transformers: values, logits and gradients.

    pip install -r test/golden/requirements.txt
    python test/golden/record-vision.py

The loss of the encoder is the cross-entropy of its pooled vectors as logits; that of LLaVA is of the next tokens.
"""
import logging
import tempfile
import json
from pathlib import Path

import torch
from transformers import (LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig, SiglipVisionModel)

from common import DATA, draw, rounded, softmax_in_given_type, to_float64, versions, write_json

logging.getLogger("transformers").setLevel(logging.ERROR)
torch.set_num_threads(2)
torch.nn.functional.softmax = softmax_in_given_type

# 14 pixels in squares of 4: the edge is cut, as with the 384 pixels and squares of 14 of a published model.
VISION = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, image_size=14, patch_size=4,
              num_channels=3)
TEXT = dict(vocab_size=24, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=64, rope_theta=1000.0)
IMAGE = 7


def save(model, file):
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        (Path(place) / "model.safetensors").replace(file)


def distance(a, b):
    return rounded(((a - b).abs().max() / b.abs().max()).item(), 2)


def prepare(name, make, config):
    folder = DATA / name
    folder.mkdir(parents=True, exist_ok=True)
    model = make(config).float().eval()
    model.set_attn_implementation("eager")
    state = draw([(key, tuple(value.shape)) for key, value in model.named_parameters()], seed=1)
    model.load_state_dict(state, strict=False)
    save(model, folder / "model.safetensors")
    written = {**json.loads(config.to_json_string(use_diff=False)), "architectures": [type(model).__name__]}
    (folder / "config.json").write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", "utf-8")
    return folder, model, to_float64(make(config).float().eval(), "eager"), state


def finish(folder, model, gradients, loss, record):
    loss.backward()
    named = dict(model.named_parameters())
    for key, value in gradients.named_parameters():
        named[key].data = (torch.zeros_like(value) if value.grad is None else value.grad).float().contiguous()
    save(model, folder / "gradients.safetensors")
    write_json(folder / "recorded.json", {"versions": versions(), **record, "loss": rounded(loss.item(), 14)})


def pixels_of(count):
    generator = torch.Generator().manual_seed(3)
    return (torch.rand((count, 3, 14, 14), generator=generator) * 2 - 1).double().mul(1000).round().div(1000)


def vision():
    folder, library, model, state = prepare("siglip-vision", SiglipVisionModel, SiglipVisionConfig(**VISION))
    model.load_state_dict(state, strict=False)
    pixels = pixels_of(2)
    out = model(pixel_values=pixels)
    wrong = {}
    for label, change in {"exact gelu": dict(hidden_act="gelu"), "four heads": dict(num_attention_heads=4),
                          "norm epsilon": dict(layer_norm_eps=1e-2)}.items():
        other = to_float64(SiglipVisionModel(SiglipVisionConfig(**{**VISION, **change})).float().eval(), "eager")
        other.load_state_dict(state, strict=False)
        with torch.no_grad():
            wrong[label] = distance(other(pixel_values=pixels).pooler_output, out.pooler_output)
    loss = torch.nn.functional.cross_entropy(out.pooler_output, torch.tensor([3, 11]))
    finish(folder, library, model, loss, {
        "pixels": rounded(pixels.flatten()), "pictures": 2, "classes": [3, 11], "hidden": rounded(out.last_hidden_state.flatten(0, 1)),
        "pooled": rounded(out.pooler_output), "nearest": wrong})


def llava(name, **settings):
    def config(**change):
        return LlavaConfig(vision_config=SiglipVisionConfig(**VISION), text_config=LlamaConfig(**TEXT),
                           image_token_index=IMAGE, **{**settings, **change})
    folder, library, model, state = prepare(name, LlavaForConditionalGeneration, config())
    model.load_state_dict(state, strict=False)
    count = 9 - (settings["vision_feature_select_strategy"] == "default")
    ids = torch.tensor([[5, 17] + [IMAGE] * count + [11, 23, 0], [2] + [IMAGE] * count + [9, 14, 1, 20]])
    pixels = pixels_of(2)
    logits = model(input_ids=ids, pixel_values=pixels).logits
    with torch.no_grad():
        wrong = {"pictures swapped": distance(model(input_ids=ids, pixel_values=pixels.flip(0)).logits, logits)}
        changes = {"other activation": dict(projector_hidden_act="silu")}
        if isinstance(settings["vision_feature_layer"], int):
            changes["other layer"] = dict(vision_feature_layer=-3)
        for label, change in changes.items():
            other = to_float64(LlavaForConditionalGeneration(config(**change)).float().eval(), "eager")
            other.load_state_dict(state, strict=False)
            wrong[label] = distance(other(input_ids=ids, pixel_values=pixels).logits, logits)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    finish(folder, library, model, loss, {
        "pixels": rounded(pixels.flatten()), "pictures": 2, "tokens": ids.tolist(),
        "nextLogits": rounded(logits.flatten(0, 1)), "nearest": wrong})


vision()
llava("llava-siglip", vision_feature_layer=-2, vision_feature_select_strategy="full")
llava("llava-options", vision_feature_layer=[-1, 1], vision_feature_select_strategy="default",
      multimodal_projector_bias=False, projector_hidden_act="relu")
