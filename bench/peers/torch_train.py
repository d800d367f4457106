"""Time of a training step (forward and backward, float32, CPU) of a Llama in PyTorch.

    python bench/peers/torch_train.py [--layers 8 --hidden 256 ...]

Three models of the same shape and size: transformers' LlamaForCausalLM with eager and with sdpa attention, and one
written by hand with as little around PyTorch's operators as possible. Each step is timed next to a product of
1024 x 1024 matrices; `ratio` is the step's rate over that of the product, so that figures of a slowed-down machine can
be told from those of slow code.
"""
import torch
import torch.nn.functional as F

from shape import build, matmul_gflops, median, parameter_count, parser, report, seconds


class HandWritten(torch.nn.Module):
    """The same Llama from bare operators, sharing the weights of a transformers model."""

    def __init__(self, model, length):
        super().__init__()
        self.model = model
        self.config = model.config
        self.head_size = model.config.hidden_size // model.config.num_attention_heads
        frequencies = 10000.0 ** (-torch.arange(0, self.head_size, 2) / self.head_size)
        angles = torch.outer(torch.arange(length), frequencies).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def rotate(self, x):
        first, second = x.chunk(2, -1)
        return x * self.cos + torch.cat((-second, first), -1) * self.sin

    def forward(self, ids):
        B, T = ids.shape
        eps = self.config.rms_norm_eps
        x = self.model.model.embed_tokens(ids)
        for layer in self.model.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            h = F.rms_norm(x, x.shape[-1:], layer.input_layernorm.weight, eps)
            q, k, v = (p(h).view(B, T, -1, self.head_size).transpose(1, 2)
                       for p in (attention.q_proj, attention.k_proj, attention.v_proj))
            mixed = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True, enable_gqa=True)
            x = x + attention.o_proj(mixed.transpose(1, 2).reshape(B, T, -1))
            h = F.rms_norm(x, x.shape[-1:], layer.post_attention_layernorm.weight, eps)
            x = x + mlp.down_proj(F.silu(mlp.gate_proj(h)) * mlp.up_proj(h))
        return self.model.lm_head(F.rms_norm(x, x.shape[-1:], self.model.model.norm.weight, eps))


def training_flops(arguments, model):
    """6 per matrix parameter and token, 12 L H E T per token for attention over the full square."""
    embedding = arguments.vocab * arguments.hidden
    matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2) - (0 if arguments.tied else embedding)
    attention = 12 * arguments.layers * arguments.hidden * arguments.length
    return arguments.batch * arguments.length * (6 * matrices + attention)


def main():
    p = parser(__doc__)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--length", type=int, default=128)
    p.add_argument("--repeats", type=int, default=15)
    arguments = p.parse_args()
    torch.set_num_threads(arguments.threads)

    eager, sdpa = build(arguments, "eager").train(), build(arguments, "sdpa").train()
    hand = HandWritten(sdpa, arguments.length)
    models = {
        "transformers eager": (eager, lambda ids: eager(ids, use_cache=False).logits),
        "transformers sdpa": (sdpa, lambda ids: sdpa(ids, use_cache=False).logits),
        "hand-written": (sdpa, hand),
    }
    ids = torch.randint(arguments.vocab, (arguments.batch, arguments.length + 1))
    inputs, labels = ids[:, :-1], ids[:, 1:].reshape(-1)

    def step(name):
        model, forward = models[name]
        for parameter in model.parameters():
            parameter.grad = None
        loss = F.cross_entropy(forward(inputs).view(-1, arguments.vocab), labels)
        loss.backward()
        return loss.item()

    losses = {name: step(name) for name in models}
    assert max(losses.values()) - min(losses.values()) < 1e-4, losses
    for name in models:
        step(name)
    samples = {name: [] for name in models}
    rates = []
    for _ in range(arguments.repeats):
        for name in models:  # interleaved, so that a slow moment hits all
            rates.append(matmul_gflops())
            samples[name].append((1000 * seconds(lambda: step(name)), rates[-1]))
    flops = training_flops(arguments, eager)
    report(arguments, eager, [
        {"model": name, "params": parameter_count(eager), "ms": round(median([ms for ms, _ in runs]), 1),
         "msMin": round(min(ms for ms, _ in runs), 1),
         "gflops": round(flops / median([ms for ms, _ in runs]) / 1e6, 1),
         "ratio": round(median([flops / ms / 1e6 / rate for ms, rate in runs]), 3)}
        for name, runs in samples.items()], matmulGflops=round(median(rates), 1), flops=flops)


main()
