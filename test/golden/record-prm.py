"""Records losses, gradients and probabilities of a token classifier on the ends of steps: what process reward models learn.

    pip install -r test/golden/requirements.txt
    python test/golden/record-prm.py

The pinned TRL has no PRMTrainer any more; it only laid out labels (−100 but at the last token of each step) and called
transformers' LlamaForTokenClassification, whose loss and logits these are. The head's bias is 0 and is not stored.

Writes data/llama-prm/.
"""
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForTokenClassification

from common import DATA, rounded, versions, write_json

# Ids, and for each step its last token and its label.
EXAMPLES = [
    ([3, 7, 1, 9, 4, 2, 6, 9], [(3, 1), (7, 0)]),
    ([5, 5, 9], [(2, 1)]),
    ([1, 8, 4, 11, 9, 8, 9, 3, 9], [(4, 1), (6, 1), (8, 0)]),
]


def main():
    folder = DATA / "llama-prm"
    torch.manual_seed(7)
    config = LlamaConfig(vocab_size=12, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2,
                         num_key_value_heads=1, max_position_embeddings=16, num_labels=2, initializer_range=0.3,
                         bos_token_id=1, eos_token_id=2, classifier_dropout=0.0)
    model = LlamaForTokenClassification(config).eval()
    torch.nn.init.zeros_(model.score.bias)
    model.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("score.bias")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    width = max(len(ids) for ids, _ in EXAMPLES)
    ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in EXAMPLES])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row, _ in EXAMPLES])
    labels = torch.full_like(ids, -100)
    for row, (_, steps) in enumerate(EXAMPLES):
        for end, label in steps:
            labels[row, end] = label
    out = model(input_ids=ids, attention_mask=mask, labels=labels)
    out.loss.backward()
    right = out.logits.softmax(-1)[..., 1]
    write_json(folder / "recorded.json", {
        "versions": versions(transformers),
        "examples": [{"ids": row, "steps": [{"end": end, "label": bool(label)} for end, label in steps]}
                     for row, steps in EXAMPLES],
        "loss": rounded(out.loss.item()),
        "headGradient": rounded(model.score.weight.grad.flatten().tolist()),
        "probabilities": [rounded([right[row, end].item() for end, _ in steps])
                          for row, (_, steps) in enumerate(EXAMPLES)],
    })


main()
