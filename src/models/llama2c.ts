/**
 * Reader of llama2.c checkpoints (legacy format): seven int32, then float32 tensors, each kind for all layers together.
 *
 * @code karpathy/llama2.c `export.py`, `legacy_export`
 */
import { readFileSync, statSync } from 'node:fs';
import { CheckpointError } from '../core/errors.ts';

const headerInts = 7;

/** Reads a file into a Llama config.json and tensors under their Hugging Face names. Throws `CheckpointError` when the size does not fit the header. */
export function readLlama2c(file: string): {
  config: Record<string, unknown>;
  tensors: Map<string, Float32Array>;
} {
  const { size } = statSync(file);
  const bytes = readFileSync(file);
  const fail = (expected: string, received: string): never => {
    throw new CheckpointError({
      where: file,
      expected,
      received,
      fix: 'Name a llama2.c checkpoint in the legacy format, or a model folder',
    });
  };
  if (size < headerInts * 4) fail('a llama2.c header of 28 bytes', `${size} bytes`);
  const [D, F, L, H, K, signedV, maxPositions] = Array.from({ length: headerInts }, (_, i) =>
    bytes.readInt32LE(4 * i),
  ) as [number, number, number, number, number, number, number];
  const V = Math.abs(signedV);
  const tied = signedV > 0;
  const sane =
    [D, F, L, H, K, V, maxPositions].every((n) => n > 0 && n < 1 << 24) && D % H === 0 && H % K === 0;
  if (!sane)
    fail(
      'positive sizes with heads that divide the width',
      `header ${[D, F, L, H, K, signedV, maxPositions].join(', ')}`,
    );
  const E = D / H;
  const tables = 2 * maxPositions * (E / 2);
  const elements =
    V * D + L * (2 * D + 2 * D * D + 2 * K * E * D + 3 * D * F) + D + tables + (tied ? 0 : V * D);
  if (size !== headerInts * 4 + 4 * elements)
    fail(`${headerInts * 4 + 4 * elements} bytes for these sizes`, `${size}`);

  const data = new Float32Array(
    bytes.buffer.slice(bytes.byteOffset + headerInts * 4, bytes.byteOffset + size),
  );
  let offset = 0;
  const take = (count: number): Float32Array => data.subarray(offset, (offset += count));
  const tensors = new Map<string, Float32Array>();
  const perLayer = (name: string, count: number, convert = (tensor: Float32Array) => tensor): void => {
    for (let layer = 0; layer < L; layer++)
      tensors.set(`model.layers.${layer}.${name}.weight`, convert(take(count)));
  };
  tensors.set('model.embed_tokens.weight', take(V * D));
  perLayer('input_layernorm', D);
  perLayer('self_attn.q_proj', D * D, (tensor) => halvesFromPairs(tensor, H, E, D));
  perLayer('self_attn.k_proj', K * E * D, (tensor) => halvesFromPairs(tensor, K, E, D));
  perLayer('self_attn.v_proj', K * E * D);
  perLayer('self_attn.o_proj', D * D);
  perLayer('post_attention_layernorm', D);
  perLayer('mlp.gate_proj', D * F);
  perLayer('mlp.down_proj', D * F);
  perLayer('mlp.up_proj', D * F);
  tensors.set('model.norm.weight', take(D));
  take(tables);
  if (!tied) tensors.set('lm_head.weight', take(V * D));
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: D,
    intermediate_size: F,
    num_hidden_layers: L,
    num_attention_heads: H,
    num_key_value_heads: K,
    vocab_size: V,
    max_position_embeddings: maxPositions,
    hidden_act: 'silu',
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: tied,
    bos_token_id: 1,
    eos_token_id: 2,
  };
  return { config, tensors };
}

/** Reorders the rows of each head from neighbouring rotary pairs (0,1),(2,3),… to halves (0,E/2),(1,E/2+1),…. */
function halvesFromPairs(weight: Float32Array, heads: number, E: number, D: number): Float32Array {
  const out = new Float32Array(weight.length);
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < E; row++) {
      const target = (row % 2) * (E / 2) + Math.floor(row / 2);
      const from = (head * E + row) * D;
      out.set(weight.subarray(from, from + D), (head * E + target) * D);
    }
  }
  return out;
}
