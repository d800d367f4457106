"""Tokens per second of transformers' generate with a key-value cache, float32, CPU.

    python bench/peers/torch_generate.py [--layers 8 --hidden 256 ...]
    heed bench generate --peer "python bench/peers/torch_generate.py"

With `--model <folder>` it is a peer of `heed bench generate`: sampled, `sdpa`, one line of figures by batch size.

Prompts of 16 random tokens, 64 new tokens, no stop token; reading the prompt counts, as in `heed bench engine`. Greedy
and sampled (temperature 1, whole vocabulary), each after two seconds of runs to warm up, for `sdpa` and `eager` attention.
"""
import json
import time

import torch
import transformers

from shape import build, median, parser, report, seconds


def main():
    p = parser(__doc__)
    p.add_argument("--model", help="folder with config.json and weights")
    p.add_argument("--batches", type=lambda text: [int(n) for n in text.split(",")], default=[1, 8, 32])
    p.add_argument("--prompt", type=int, default=16)
    p.add_argument("--new-tokens", type=int, default=64)
    p.add_argument("--repeats", type=int, default=5)
    arguments = p.parse_args()
    torch.set_num_threads(arguments.threads)

    results = []
    for attention in ("sdpa",) if arguments.model else ("sdpa", "eager"):
        if arguments.model:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                arguments.model, attn_implementation=attention, dtype=torch.float32).eval()
            arguments.vocab = model.config.vocab_size
        else:
            model = build(arguments, attention).eval()
        for batch in arguments.batches:
            prompts = torch.randint(arguments.vocab, (batch, arguments.prompt))
            for sampled in (True,) if arguments.model else (False, True):
                choice = {"do_sample": True, "temperature": 1.0, "top_k": 0} if sampled else {"do_sample": False}

                def run():
                    with torch.inference_mode():
                        out = model.generate(prompts, attention_mask=torch.ones_like(prompts), pad_token_id=0,
                                             max_new_tokens=arguments.new_tokens,
                                             min_new_tokens=arguments.new_tokens, **choice)
                    assert out.shape == (batch, arguments.prompt + arguments.new_tokens)

                cold = time.monotonic()  # warm for two seconds, as heed is
                while time.monotonic() - cold < 2:
                    run()
                times = [seconds(run) for _ in range(arguments.repeats)]
                tokens = batch * arguments.new_tokens
                results.append({"attention": attention, "batch": batch, "sampled": sampled,
                                "tokensPerSecond": round(tokens / median(times), 1),
                                "tokensPerSecondBest": round(tokens / min(times), 1)})
    if arguments.model:
        print(json.dumps({"name": f"transformers {transformers.__version__}",
                          "tokensPerSecond": {str(r["batch"]): r["tokensPerSecond"] for r in results}}))
    else:
        report(arguments, model, results)


main()
