/** Models with random weights that the benchmarks run, by their number of parameters. */

export const benchSizes = ['1M', '7M', '135M'] as const;
export type BenchSize = (typeof benchSizes)[number];

/** config.json of each: two small Llamas, of which the second is that of the budget, and the shape of SmolLM2-135M. */
export const benchModels: Readonly<Record<BenchSize, Readonly<Record<string, unknown>>>> = {
  '1M': llama({ D: 128, F: 352, L: 4, H: 4, K: 4, V: 1024, tied: true }),
  '7M': llama({ D: 256, F: 688, L: 8, H: 8, K: 8, V: 2048, tied: false }),
  '135M': llama({ D: 576, F: 1536, L: 30, H: 9, K: 3, V: 49_152, tied: true }),
};

interface Shape {
  readonly D: number;
  readonly F: number;
  readonly L: number;
  readonly H: number;
  readonly K: number;
  readonly V: number;
  readonly tied: boolean;
}

function llama({ D, F, L, H, K, V, tied }: Shape): Record<string, unknown> {
  return {
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    hidden_size: D,
    intermediate_size: F,
    num_hidden_layers: L,
    num_attention_heads: H,
    num_key_value_heads: K,
    vocab_size: V,
    max_position_embeddings: 512,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: tied,
  };
}
