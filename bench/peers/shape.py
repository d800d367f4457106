"""The Llama both measurements use, and what they count."""
import argparse
import json
import os
import platform
import statistics

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM


def parser(description):
    """Command line with the shape; the defaults are the 7 M-parameter model of `heed bench engine`."""
    p = argparse.ArgumentParser(description=description)
    for name, default in (("layers", 8), ("hidden", 256), ("heads", 8), ("kv-heads", 0), ("intermediate", 688),
                          ("vocab", 2048), ("threads", 2)):
        p.add_argument(f"--{name}", type=int, default=default)
    p.add_argument("--tied", action="store_true", help="output embedding is the input embedding")
    return p


def build(arguments, attention):
    """The model with random weights, float32."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=arguments.vocab, hidden_size=arguments.hidden, intermediate_size=arguments.intermediate,
        num_hidden_layers=arguments.layers, num_attention_heads=arguments.heads,
        num_key_value_heads=arguments.kv_heads or arguments.heads, max_position_embeddings=512, rms_norm_eps=1e-5,
        tie_word_embeddings=arguments.tied, attn_implementation=attention, bos_token_id=None, eos_token_id=None)
    return LlamaForCausalLM(config)


def parameter_count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def matmul_gflops(repeats=3, side=1024):
    """Best rate of a float32 product of 1024 x 1024 matrices."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    out = torch.empty(side, side)
    times = [seconds(lambda: torch.matmul(a, b, out=out)) for _ in range(repeats)]
    return 2 * side**3 / min(times) / 1e9


def seconds(run):
    import time
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def report(arguments, model, results, **more):
    """JSON on standard output. `load` shows whether the machine was quiet: it should not exceed the threads used."""
    shape = {key: value for key, value in vars(arguments).items()}
    print(json.dumps({
        "torch": torch.__version__, "transformers": transformers.__version__, "python": platform.python_version(),
        "cpu": torch.backends.cpu.get_cpu_capability(), "load": os.getloadavg()[0], **shape,
        "params": parameter_count(model), **more, "results": results}, indent=1))


def median(values):
    return statistics.median(values)
