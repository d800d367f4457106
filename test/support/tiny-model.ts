/** A Llama small enough for unit tests: V 24, D 16, 2 layers, grouped heads, tied embeddings. */
import { createRng } from '../../src/core/rng.ts';
import type { CausalModel } from '../../src/models/causal-model.ts';
import { buildModel } from '../../src/models/registry.ts';
import { allocateParameters, initialize, type Parameters } from '../../src/nn/parameters.ts';
import type { TokenExample } from '../../src/parts/batch.ts';

export const tinyConfig = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 24,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  initializer_range: 0.2,
  tie_word_embeddings: true,
};

export function tinyModel(
  seed = 1,
  overrides: Record<string, unknown> = {},
): { model: CausalModel; parameters: Parameters } {
  const model = buildModel({ ...tinyConfig, ...overrides });
  const parameters = allocateParameters(model.parameters);
  initialize(parameters, createRng(seed));
  return { model, parameters };
}

/** Random sequences of uneven length whose first two tokens are not learned. */
export function tinyExamples(count: number, seed = 3, V = 24): TokenExample[] {
  const rng = createRng(seed);
  return Array.from({ length: count }, (_, row) => {
    const length = 4 + rng.integer(9, row, 0);
    return {
      ids: Array.from({ length }, (_, t) => rng.integer(V, row, 1, t)),
      mask: Array.from({ length }, (_, t) => (t < 2 ? 0 : 1)),
    };
  });
}
