/**
 * Reader of llama2.c checkpoints (legacy format): seven int32, then float32 tensors, each kind for all layers together.
 *
 * @code karpathy/llama2.c `export.py`, `legacy_export`
 */
import { fstatSync } from 'node:fs';
import { CheckpointError } from '../core/errors.ts';
import { type Shape, sizeOf } from '../core/shapes.ts';
import { readFully, withFile } from './file-bytes.ts';
import { halvesFromPairs } from './row-order.ts';
import type { WeightSource } from './weight-source.ts';

const HEADER_INTS = 7;
const HEADER_BYTES = 4 * HEADER_INTS;

export interface Llama2cFile {
  /** The config.json that describes it. The format has no rms eps and no rope base: they are those of its trainer. */
  readonly config: Readonly<Record<string, unknown>>;
  /** By their Hugging Face name. */
  readonly weights: ReadonlyMap<string, WeightSource>;
}

/** Sizes by letter, as in the shapes of the documentation. */
interface Sizes {
  readonly D: number;
  readonly F: number;
  readonly L: number;
  readonly H: number;
  readonly K: number;
  readonly V: number;
  readonly maxPositions: number;
  /** Whether the classifier is the embedding. */
  readonly tied: boolean;
}

/**
 * Opens a file: reads its header, compares it with the file's size.
 *
 * @throws CheckpointError when the file cannot be read or its size does not fit the header
 */
export function readLlama2c(file: string): Llama2cFile {
  const sizes = readSizes(file);
  const { D, F, L, H, K, V, maxPositions, tied } = sizes;
  return {
    config: {
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      hidden_size: D,
      intermediate_size: F,
      num_hidden_layers: L,
      num_attention_heads: H,
      num_key_value_heads: K,
      head_dim: D / H,
      vocab_size: V,
      max_position_embeddings: maxPositions,
      hidden_act: 'silu',
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      tie_word_embeddings: tied,
      attention_bias: false,
      mlp_bias: false,
      bos_token_id: 1,
      eos_token_id: 2,
      torch_dtype: 'float32',
    },
    weights: weightsOf(file, sizes),
  };
}

function weightsOf(file: string, sizes: Sizes): Map<string, WeightSource> {
  const weights = new Map<string, WeightSource>();
  let position = HEADER_BYTES;
  for (const { name, shape, heads } of tensorsOf(sizes)) {
    const start = position;
    position += 4 * sizeOf(shape);
    if (name === undefined) continue;
    const where = `${file} (tensor "${name}")`;
    weights.set(name, {
      where,
      shape,
      read(out) {
        withFile(file, (descriptor) => readFully(descriptor, out, start, where));
        if (heads !== undefined) halvesFromPairs(out, heads, sizes.D);
      },
    });
  }
  return weights;
}

function readSizes(file: string): Sizes {
  const fail = (expected: string, received: string): CheckpointError =>
    new CheckpointError({
      where: file,
      expected,
      received,
      fix: 'Name a llama2.c checkpoint in the legacy format, or a model folder',
    });
  return withFile(file, (descriptor) => {
    const { size } = fstatSync(descriptor);
    if (size < HEADER_BYTES) throw fail(`a llama2.c header of ${HEADER_BYTES} bytes`, `${size} bytes`);
    const header = new Int32Array(HEADER_INTS);
    readFully(descriptor, header, 0, file);
    const [D, F, L, H, K, signedV, maxPositions] = [...header] as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    // A negative vocabulary size says that the classifier has weights of its own.
    const sizes: Sizes = { D, F, L, H, K, V: Math.abs(signedV), maxPositions, tied: signedV > 0 };
    const positive = [D, F, L, H, K, sizes.V, maxPositions].every((n) => n > 0 && n < 1 << 24);
    if (!positive || D % H !== 0 || (D / H) % 2 !== 0 || H % K !== 0) {
      throw fail('positive sizes with heads that divide the width', `header ${header.join(', ')}`);
    }
    const floats = tensorsOf(sizes).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    const bytes = HEADER_BYTES + 4 * floats;
    if (size !== bytes) throw fail(`${bytes} bytes for header ${header.join(', ')}`, `${size}`);
    return sizes;
  });
}

interface Entry {
  /** Hugging Face name; undefined for the tables that are computed from the config. */
  readonly name?: string;
  readonly shape: Shape;
  /** Heads whose rows are reordered. */
  readonly heads?: number;
}

/** All tensors in the order of the file. */
function tensorsOf({ D, F, L, H, K, V, maxPositions, tied }: Sizes): Entry[] {
  const E = D / H;
  const perLayer = (name: string, shape: Shape, heads?: number): Entry[] =>
    Array.from({ length: L }, (_, layer) => ({
      name: `model.layers.${layer}.${name}.weight`,
      shape,
      ...(heads === undefined ? {} : { heads }),
    }));
  return [
    { name: 'model.embed_tokens.weight', shape: [V, D] },
    ...perLayer('input_layernorm', [D]),
    ...perLayer('self_attn.q_proj', [H * E, D], H),
    ...perLayer('self_attn.k_proj', [K * E, D], K),
    ...perLayer('self_attn.v_proj', [K * E, D]),
    ...perLayer('self_attn.o_proj', [D, H * E]),
    ...perLayer('post_attention_layernorm', [D]),
    ...perLayer('mlp.gate_proj', [F, D]),
    ...perLayer('mlp.down_proj', [D, F]),
    ...perLayer('mlp.up_proj', [F, D]),
    { name: 'model.norm.weight', shape: [D] },
    { shape: [2, maxPositions, E / 2] }, // cosines and sines
    ...(tied ? [] : [{ name: 'lm_head.weight', shape: [V, D] }]),
  ];
}
