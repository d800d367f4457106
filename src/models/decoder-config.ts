/** Keys of config.json that decoders of the Llama line have in common, and what is read from them. */
import { z } from 'zod';
import { ConfigError } from '../core/errors.ts';

/** The common keys; an architecture extends them with its own. Others are kept in the file untouched. */
export const decoderConfig = z.looseObject({
  hidden_size: z.int().positive(),
  intermediate_size: z.int().positive(),
  num_hidden_layers: z.int().positive(),
  num_attention_heads: z.int().positive(),
  num_key_value_heads: z.int().positive().nullish(),
  head_dim: z.int().positive().nullish(),
  vocab_size: z.int().positive(),
  max_position_embeddings: z.int().positive(),
  rms_norm_eps: z.number().positive().default(1e-6),
  initializer_range: z.number().positive().default(0.02),
});
export type DecoderConfig = z.infer<typeof decoderConfig>;

/** Sizes by the letters of the documentation: V, D, L, H, K, E, and F, the width of the feed-forward layers. */
export type DecoderSizes = Readonly<Record<'V' | 'D' | 'L' | 'H' | 'K' | 'E' | 'F', number>>;

/** Throws `ConfigError` when heads do not divide what they share. */
export function decoderSizes(config: DecoderConfig): DecoderSizes {
  const D = config.hidden_size;
  const H = config.num_attention_heads;
  const K = config.num_key_value_heads ?? H;
  if (H % K !== 0) {
    throw new ConfigError({
      where: 'config.json num_key_value_heads',
      expected: `a divisor of num_attention_heads, ${H}`,
      received: String(K),
      fix: 'Take config.json from the original checkpoint',
    });
  }
  return {
    V: config.vocab_size,
    D,
    L: config.num_hidden_layers,
    H,
    K,
    E: config.head_dim ?? headSize(D, H),
    F: config.intermediate_size,
  };
}

/** Elements per head where heads share the hidden size. Throws `ConfigError` when they cannot. */
export function headSize(hiddenSize: number, heads: number): number {
  if (hiddenSize % heads !== 0) {
    throw new ConfigError({
      where: 'config.json num_attention_heads',
      expected: `a divisor of the hidden size ${hiddenSize}, as head_dim is not set`,
      received: String(heads),
      fix: 'Take config.json from the original checkpoint',
    });
  }
  return hiddenSize / heads;
}

/** `layer_types` of config.json. */
export const layerTypes = z.array(z.enum(['full_attention', 'sliding_attention'])).nullish();
export type LayerType = 'full_attention' | 'sliding_attention';

/**
 * Type of each layer: `layer_types` of the config, or what `otherwise` gives.
 * Throws `ConfigError` when the list has another length, or names a window where the config has none.
 */
export function readLayerTypes(
  config: {
    readonly num_hidden_layers: number;
    readonly layer_types?: readonly LayerType[] | null | undefined;
  },
  window: number | undefined,
  otherwise: (layer: number) => LayerType,
): readonly LayerType[] {
  const L = config.num_hidden_layers;
  const types = config.layer_types ?? Array.from({ length: L }, (_, layer) => otherwise(layer));
  if (types.length !== L) {
    throw new ConfigError({
      where: 'config.json layer_types',
      expected: `${L} entries, one per layer`,
      received: `${types.length} entries`,
      fix: 'Take config.json from the original checkpoint',
    });
  }
  if (window === undefined && types.includes('sliding_attention')) {
    throw new ConfigError({
      where: 'config.json sliding_window',
      expected: 'a number of tokens, as layer_types names sliding_attention',
      received: 'no window in use',
      fix: 'Set sliding_window (and use_sliding_window where the architecture has it)',
    });
  }
  return types;
}
