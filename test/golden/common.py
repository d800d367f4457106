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


def draw(shapes, seed, centre=1.0):
    """Weights large enough that a wrong detail shows; norms around `centre` and biases away from 0."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes:
        noise = torch.randn(shape, generator=generator)
        if name.endswith(".bias"):
            state[name] = 0.3 * noise
        elif len(shape) == 1:
            state[name] = centre + 0.3 * noise
        elif any(part in name for part in ("embed", "lm_head", "wte", "wpe")):
            state[name] = 0.7 * noise
        else:
            state[name] = noise * 1.5 / shape[-1] ** 0.5
    return state


class Float64RMSNorm(torch.nn.Module):
    """transformers' RMS norm of the Llama line without its detour through float32."""

    def __init__(self, norm):
        super().__init__()
        self.weight = norm.weight
        self.eps = norm.variance_epsilon

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


class Float64CentredRMSNorm(torch.nn.Module):
    """The same for Gemma, whose weights are around 0."""

    def __init__(self, norm):
        super().__init__()
        self.weight = norm.weight
        self.eps = norm.eps

    def forward(self, x):
        return (1 + self.weight) * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


given_softmax = torch.nn.functional.softmax


def softmax_in_given_type(x, dim=None, dtype=None):
    """softmax without a change of type: eager attention takes it in float32 whatever the model's type."""
    return given_softmax(x, dim=dim)


def to_float64(model, attention="sdpa"):
    """
    The model in float64 throughout, except for the rotary angles, which transformers forms in float32. Eager attention
    needs `softmax_in_given_type` in place of torch's.
    """
    model = model.double()
    model.set_attn_implementation(attention)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__.endswith("RMSNorm"):
                centred = type(child).__name__.startswith("Gemma")
                setattr(module, name, (Float64CentredRMSNorm if centred else Float64RMSNorm)(child))
    return model
