"""What the recording scripts share: versions, compact JSON, float64 Llama."""
import json
from pathlib import Path

import torch
import transformers

DATA = Path(__file__).parent / "data"


def versions(*modules):
    """Names and versions of the libraries that a record comes from."""
    return {module.__name__: module.__version__.split("+")[0] for module in (torch, transformers, *modules)}


def rounded(x, digits=10):
    """Nested lists of a tensor, numbers cut to significant digits."""
    if isinstance(x, torch.Tensor):
        x = x.detach().tolist()
    if isinstance(x, (list, tuple)):
        return [rounded(item, digits) for item in x]
    if isinstance(x, dict):
        return {key: rounded(item, digits) for key, item in x.items()}
    return float(f"{x:.{digits}g}") if isinstance(x, float) else x


def write_json(path, record):
    """One line per innermost list keeps files small and diffs readable."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, ensure_ascii=True, separators=(",", ":"))
    for opening, replacement in (("],[", "],\n["), (',"', ',\n"'), ("},{", "},\n{")):
        text = text.replace(opening, replacement)
    path.write_text(text + "\n", "utf-8")
    print(path.relative_to(DATA), len(text))


class Float64RMSNorm(torch.nn.Module):
    """transformers' LlamaRMSNorm without its detour through float32."""

    def __init__(self, norm):
        super().__init__()
        self.weight = norm.weight
        self.eps = norm.variance_epsilon

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def to_float64(model):
    """The model in float64 throughout, except for the rotary angles, which transformers forms in float32."""
    model = model.double()
    model.set_attn_implementation("sdpa")  # eager attention takes its softmax in float32
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ == "LlamaRMSNorm":
                setattr(module, name, Float64RMSNorm(child))
    return model
