/**
 * Language models in GGUF files as Hugging Face checkpoints: the config.json that describes them, and their tensors under
 * the names, in the row order and around the zero that a safetensors file has.
 *
 * @source ggml-org/llama.cpp `convert_hf_to_gguf.py`, whose changes are undone here; `gguf-py/gguf/tensor_mapping.py`
 *   (names). Files that the test data's recorder wrote were read by transformers with equal logits.
 */
import { CheckpointError } from '../core/errors.ts';
import { sizeOf } from '../core/shapes.ts';
import { type GgufFile, type GgufTensor, type GgufValue, readGguf, readGgufTensor } from './gguf.ts';
import { fuseByHead, halvesFromPairs } from './row-order.ts';
import type { WeightSource } from './weight-source.ts';

export interface GgufModel {
  readonly config: Readonly<Record<string, unknown>>;
  /** By their Hugging Face name. */
  readonly weights: ReadonlyMap<string, WeightSource>;
}

interface Architecture {
  /** Name of the class in transformers. */
  readonly name: string;
  readonly modelType: string;
  /** Keys of config.json besides the common ones. */
  config(facts: Facts): Record<string, unknown>;
  /** Hugging Face's prefix of layers, and names: of the whole model, and inside a layer. */
  readonly prefix: string;
  readonly whole: Readonly<Record<string, string>>;
  readonly layer: Readonly<Record<string, string>>;
  /** Undoes what the converter did to the numbers of a tensor, in place. */
  restore?(name: string, numbers: Float32Array, tensor: GgufTensor, facts: Facts): void;
}

const llamaWhole = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
};
const attentionNames = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
};
const mlpNames = {
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};
const llamaLayer = { ...attentionNames, ...mlpNames, ffn_norm: 'post_attention_layernorm' };
const headNorms = { attn_q_norm: 'self_attn.q_norm', attn_k_norm: 'self_attn.k_norm' };
const gemmaLayer = {
  ...attentionNames,
  ...mlpNames,
  post_attention_norm: 'post_attention_layernorm',
  ffn_norm: 'pre_feedforward_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
};

/** Gemma's norms multiply by 1 + weight; the file has the sum. */
function aroundZero(name: string, numbers: Float32Array): void {
  if (!name.endsWith('norm.weight')) return;
  for (let index = 0; index < numbers.length; index++) numbers[index]! -= 1;
}

const architectures: Readonly<Record<string, Architecture>> = {
  llama: {
    name: 'LlamaForCausalLM',
    modelType: 'llama',
    prefix: 'model.layers',
    whole: llamaWhole,
    layer: llamaLayer,
    config: (facts) => ({
      ...decoderKeys(facts),
      head_dim: headSize(facts, 'rope.dimension_count'),
      hidden_act: 'silu',
      attention_bias: facts.has('blk.0.attn_q.bias'),
      mlp_bias: facts.has('blk.0.ffn_up.bias'),
    }),
    restore(name, numbers, { shape }, facts) {
      const kind = /\.attn_([qk])\./.exec(name)?.[1];
      if (kind === undefined) return;
      const heads = facts.number('attention.head_count');
      const own = kind === 'q' ? heads : facts.number('attention.head_count_kv', heads);
      halvesFromPairs(numbers, own, shape[1] ?? 1);
    },
  },
  qwen2: {
    name: 'Qwen2ForCausalLM',
    modelType: 'qwen2',
    prefix: 'model.layers',
    whole: llamaWhole,
    layer: llamaLayer,
    config: (facts) => ({ ...decoderKeys(facts), hidden_act: 'silu', use_sliding_window: false }),
  },
  qwen3: {
    name: 'Qwen3ForCausalLM',
    modelType: 'qwen3',
    prefix: 'model.layers',
    whole: llamaWhole,
    layer: { ...llamaLayer, ...headNorms },
    config: (facts) => ({
      ...decoderKeys(facts),
      head_dim: headSize(facts),
      hidden_act: 'silu',
      attention_bias: facts.has('blk.0.attn_q.bias'),
      use_sliding_window: false,
    }),
  },
  gemma2: {
    name: 'Gemma2ForCausalLM',
    modelType: 'gemma2',
    prefix: 'model.layers',
    whole: llamaWhole,
    layer: gemmaLayer,
    config: (facts) => ({
      ...decoderKeys(facts),
      head_dim: headSize(facts),
      hidden_activation: 'gelu_pytorch_tanh',
      // llama.cpp knows the one model (27B, 46 layers) whose scores are divided by another number.
      query_pre_attn_scalar: facts.number('block_count') === 46 ? hiddenPerHead(facts) : headSize(facts),
      sliding_window: facts.number('attention.sliding_window', 4096),
      attn_logit_softcapping: facts.number('attn_logit_softcapping', 50),
      final_logit_softcapping: facts.number('final_logit_softcapping', 30),
    }),
    restore: aroundZero,
  },
  gemma3: {
    name: 'Gemma3ForCausalLM',
    modelType: 'gemma3_text',
    prefix: 'model.layers',
    whole: llamaWhole,
    layer: { ...gemmaLayer, ...headNorms },
    config: (facts) => ({
      ...decoderKeys(facts),
      head_dim: headSize(facts),
      hidden_activation: 'gelu_pytorch_tanh',
      query_pre_attn_scalar: facts.number('block_count') === 62 ? hiddenPerHead(facts) : headSize(facts),
      sliding_window: facts.number('attention.sliding_window', 512),
      sliding_window_pattern: 6,
      layer_types: Array.from({ length: facts.number('block_count') }, (_, layer) =>
        (layer + 1) % 6 === 0 ? 'full_attention' : 'sliding_attention',
      ),
      rope_local_base_freq: facts.number('rope.freq_base_swa', 10000),
      ...(facts.has('final_logit_softcapping')
        ? { final_logit_softcapping: facts.number('final_logit_softcapping') }
        : {}),
    }),
    restore: aroundZero,
  },
  phi3: {
    name: 'Phi3ForCausalLM',
    modelType: 'phi3',
    prefix: 'model.layers',
    whole: llamaWhole,
    layer: {
      ...llamaLayer,
      attn_qkv: 'self_attn.qkv_proj',
      ffn_up: 'mlp.gate_up_proj',
    },
    config: (facts) => {
      const E = hiddenPerHead(facts);
      return {
        ...decoderKeys(facts),
        hidden_act: 'silu',
        partial_rotary_factor: facts.number('rope.dimension_count', E) / E,
        // 0: none.
        sliding_window: facts.number('attention.sliding_window', 0) || null,
      };
    },
  },
  gpt2: {
    name: 'GPT2LMHeadModel',
    modelType: 'gpt2',
    prefix: 'transformer.h',
    whole: {
      token_embd: 'transformer.wte',
      position_embd: 'transformer.wpe',
      output_norm: 'transformer.ln_f',
      output: 'lm_head',
    },
    layer: {
      attn_norm: 'ln_1',
      attn_qkv: 'attn.c_attn',
      attn_output: 'attn.c_proj',
      ffn_norm: 'ln_2',
      ffn_up: 'mlp.c_fc',
      ffn_down: 'mlp.c_proj',
    },
    config: (facts) => ({
      n_embd: facts.number('embedding_length'),
      n_layer: facts.number('block_count'),
      n_head: facts.number('attention.head_count'),
      n_positions: facts.number('context_length'),
      n_inner: facts.number('feed_forward_length'),
      layer_norm_epsilon: facts.number('attention.layer_norm_epsilon'),
      activation_function: 'gelu_new',
    }),
  },
  gptneox: {
    name: 'GPTNeoXForCausalLM',
    modelType: 'gpt_neox',
    prefix: 'gpt_neox.layers',
    whole: {
      token_embd: 'gpt_neox.embed_in',
      output_norm: 'gpt_neox.final_layer_norm',
      output: 'embed_out',
    },
    layer: {
      attn_norm: 'input_layernorm',
      attn_qkv: 'attention.query_key_value',
      attn_output: 'attention.dense',
      ffn_norm: 'post_attention_layernorm',
      ffn_up: 'mlp.dense_h_to_4h',
      ffn_down: 'mlp.dense_4h_to_h',
    },
    config: (facts) => ({
      hidden_size: facts.number('embedding_length'),
      intermediate_size: facts.number('feed_forward_length'),
      num_hidden_layers: facts.number('block_count'),
      num_attention_heads: facts.number('attention.head_count'),
      max_position_embeddings: facts.number('context_length'),
      layer_norm_eps: facts.number('attention.layer_norm_epsilon'),
      rotary_pct: facts.number('rope.dimension_count', hiddenPerHead(facts)) / hiddenPerHead(facts),
      rotary_emb_base: facts.number('rope.freq_base', 10000),
      use_parallel_residual: facts.flag('use_parallel_residual', true),
      attention_bias: facts.has('blk.0.attn_qkv.bias'),
      hidden_act: 'gelu',
    }),
    restore(name, numbers, _, facts) {
      if (name.includes('.attn_qkv.')) fuseByHead(numbers, facts.number('attention.head_count'));
    },
  },
};

/** Architectures whose GGUF files can be read, by their name there. */
export const ggufArchitectures: readonly string[] = Object.keys(architectures);

/**
 * Opens a file: reads its header, finds what it is in Hugging Face's terms.
 *
 * @throws CheckpointError when the file is damaged, of another architecture, or lacks a number of its shape
 */
export function readGgufModel(file: string): GgufModel {
  const gguf = readGguf(file);
  const key = gguf.metadata.get('general.architecture');
  const architecture = typeof key === 'string' ? architectures[key] : undefined;
  if (architecture === undefined) {
    throw new CheckpointError({
      where: `${file}: general.architecture`,
      expected: ggufArchitectures.join(', '),
      received: JSON.stringify(key) ?? 'nothing',
      fix: 'Use a model of a supported architecture',
    });
  }
  const facts = factsOf(gguf, key as string);
  return { config: configOf(architecture, facts), weights: weightsOf(architecture, facts) };
}

/** What the header says, by short names. */
interface Facts {
  readonly gguf: GgufFile;
  /** A number of the architecture, as short as float32 lets it be. Throws when it is missing and there is no `otherwise`. */
  number(name: string, otherwise?: number): number;
  text(name: string): string | undefined;
  flag(name: string, otherwise: boolean): boolean;
  /** Whether there is a tensor, or a number of the architecture, of this name. */
  has(name: string): boolean;
}

function factsOf(gguf: GgufFile, prefix: string): Facts {
  return {
    gguf,
    number(name, otherwise) {
      const value = single(gguf.metadata.get(`${prefix}.${name}`)) ?? otherwise;
      if (typeof value === 'number') return shortest(value);
      throw new CheckpointError({
        where: `${gguf.file}: ${prefix}.${name}`,
        expected: 'a number',
        received: value === undefined ? 'nothing' : typeof value,
        fix: 'Convert the model again with a current llama.cpp',
      });
    },
    text(name) {
      const value = gguf.metadata.get(`${prefix}.${name}`);
      return typeof value === 'string' ? value : undefined;
    },
    flag(name, otherwise) {
      const value = gguf.metadata.get(`${prefix}.${name}`);
      return typeof value === 'boolean' ? value : otherwise;
    },
    has: (name) => gguf.tensors.has(name) || gguf.metadata.has(`${prefix}.${name}`),
  };
}

/** Some files repeat a number for each layer. */
function single(value: GgufValue | undefined): GgufValue | undefined {
  if (typeof value !== 'object') return value;
  const first = value[0];
  return value.length > 0 && Array.prototype.every.call(value, (one: unknown) => one === first)
    ? first
    : value;
}

/** The shortest decimal that is the same float32: 1e-5 for 9.999999747378752e-6. Other numbers stay. */
function shortest(value: number): number {
  if (Math.fround(value) !== value) return value;
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}

const hiddenPerHead = (facts: Facts): number =>
  facts.number('embedding_length') / facts.number('attention.head_count');

/** Elements per head: as stated, as rotated (where that is all of a head), or the heads' share of the width. */
function headSize(facts: Facts, rotated?: string): number {
  const share = hiddenPerHead(facts);
  return facts.number('attention.key_length', rotated === undefined ? share : facts.number(rotated, share));
}

/** What the configs of Llama's line have in common. */
function decoderKeys(facts: Facts): Record<string, unknown> {
  const heads = facts.number('attention.head_count');
  return {
    hidden_size: facts.number('embedding_length'),
    intermediate_size: facts.number('feed_forward_length'),
    num_hidden_layers: facts.number('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: facts.number('attention.head_count_kv', heads),
    max_position_embeddings: facts.number('context_length'),
    rms_norm_eps: facts.number('attention.layer_norm_rms_epsilon'),
    rope_theta: facts.number('rope.freq_base', 10000),
    ...ropeScaling(facts),
  };
}

function ropeScaling(facts: Facts): Record<string, unknown> {
  const scaling = (keys: Record<string, unknown>) => ({ rope_scaling: keys });
  const type = facts.text('rope.scaling.type') ?? 'none';
  const factors = facts.gguf.tensors.get('rope_freqs.weight');
  if (factors !== undefined) return scaling(llama3Scaling(facts, factors));
  switch (facts.has('rope_factors_long.weight') ? 'longrope' : type) {
    case 'none':
      return {};
    case 'linear':
      return scaling({ rope_type: 'linear', factor: facts.number('rope.scaling.factor') });
    case 'yarn':
      return scaling({
        rope_type: 'yarn',
        factor: facts.number('rope.scaling.factor'),
        original_max_position_embeddings: facts.number('rope.scaling.original_context_length'),
      });
    default:
      throw new CheckpointError({
        where: `${facts.gguf.file}: rope.scaling.type`,
        expected: 'none, linear, yarn, or the factors of Llama 3',
        received: type === 'none' ? 'longrope' : type,
        fix: 'This rotary variant is not implemented',
      });
  }
}

/**
 * The settings of Llama 3.1 and later, of which the file has only the result: a divisor per frequency. All published models
 * share the two limits and the original context; the factor is the last divisor. Refused when they give other divisors.
 */
function llama3Scaling(facts: Facts, tensor: GgufTensor): Record<string, unknown> {
  const divisors = new Float32Array(sizeOf(tensor.shape));
  readGgufTensor(tensor, divisors);
  const [low, high, context] = [1, 4, 8192];
  const factor = shortest(divisors.at(-1)!);
  const theta = facts.number('rope.freq_base', 10000);
  const fits = divisors.every((divisor, pair) => {
    const turns = (context * theta ** (-pair / divisors.length)) / (2 * Math.PI);
    const smooth = Math.min(Math.max((turns - low) / (high - low), 0), 1);
    return Math.abs(divisor * ((1 - smooth) / factor + smooth) - 1) < 1e-3;
  });
  if (!fits) {
    throw new CheckpointError({
      where: `${facts.gguf.file} (tensor "rope_freqs.weight")`,
      expected: `the divisors of Llama 3 for a factor of ${factor}`,
      received: 'others',
      fix: 'Use the Hugging Face folder of this model',
    });
  }
  return {
    rope_type: 'llama3',
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: context,
  };
}

function configOf(architecture: Architecture, facts: Facts): Record<string, unknown> {
  const { metadata, tensors, file } = facts.gguf;
  const embedding = tensors.get('token_embd.weight');
  if (embedding === undefined) {
    throw new CheckpointError({
      where: file,
      expected: 'a tensor "token_embd.weight"',
      received: `${tensors.size} others`,
      fix: 'Name the first file of the model, or one that is whole',
    });
  }
  const special = (name: string, key: string): Record<string, unknown> => {
    const id = metadata.get(`tokenizer.ggml.${name}_token_id`);
    return id === undefined ? {} : { [key]: id };
  };
  return {
    architectures: [architecture.name],
    model_type: architecture.modelType,
    ...architecture.config(facts),
    vocab_size: embedding.shape[0],
    tie_word_embeddings: !tensors.has('output.weight'),
    ...special('bos', 'bos_token_id'),
    ...special('eos', 'eos_token_id'),
    ...special('padding', 'pad_token_id'),
    torch_dtype: 'float32',
  };
}

/** Tables that follow from the config. */
const TABLES = new Set(['rope_freqs.weight']);

function weightsOf(architecture: Architecture, facts: Facts): Map<string, WeightSource> {
  const weights = new Map<string, WeightSource>();
  for (const tensor of facts.gguf.tensors.values()) {
    if (TABLES.has(tensor.name)) continue;
    weights.set(nameOf(architecture, tensor.name), sourceOf(architecture, tensor, facts));
  }
  return weights;
}

/** Hugging Face's name of a tensor; a name that is not known stays, and is refused when the weights are placed. */
function nameOf({ prefix, whole, layer }: Architecture, name: string): string {
  const [, index, inner, kind] = /^(?:blk\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name) ?? [];
  const known = index === undefined ? whole[inner ?? ''] : layer[inner ?? ''];
  if (known === undefined) return name;
  return index === undefined ? `${known}.${kind}` : `${prefix}.${index}.${known}.${kind}`;
}

function sourceOf(architecture: Architecture, tensor: GgufTensor, facts: Facts): WeightSource {
  const where = `${tensor.file} (tensor "${tensor.name}")`;
  // GPT-2 keeps matrices inside layers as [in, out]; the file has them as everyone else's.
  if (architecture.modelType === 'gpt2' && tensor.shape.length === 2 && tensor.name.startsWith('blk.')) {
    const [rows, columns] = tensor.shape as [number, number];
    return {
      where,
      shape: [columns, rows],
      read(out) {
        const stored = new Float32Array(out.length);
        readGgufTensor(tensor, stored);
        for (let row = 0; row < rows; row++) {
          for (let column = 0; column < columns; column++)
            out[column * rows + row] = stored[row * columns + column]!;
        }
      },
    };
  }
  return {
    where,
    shape: tensor.shape,
    read(out) {
      readGgufTensor(tensor, out);
      architecture.restore?.(tensor.name, out, tensor, facts);
    },
  };
}
