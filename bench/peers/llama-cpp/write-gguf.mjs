/**
 * Writes a Llama folder as GGUF in float32, for llama.cpp to read the same numbers. The vocabulary is made up: ids only.
 *
 * @source ggml-org/ggml docs/gguf.md (version 3); ggml-org/llama.cpp convert_hf_to_gguf.py (names, order of rotary rows)
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadModel } from '../../../dist/index.js';

const alignment = 32;
const kinds = { uint32: 4, int32: 5, float32: 6, string: 8, array: 9 };

export async function writeGguf(folder, file) {
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  const { parameters } = await loadModel(folder);
  const [H, K] = [config.num_attention_heads, config.num_key_value_heads];
  const tensors = parameters.specs.map(({ name, shape }) => {
    const data = parameters.view(name);
    const heads = /q_proj/.test(name) ? H : /k_proj/.test(name) ? K : undefined;
    return { name: ggufName(name), shape, data: heads === undefined ? data : pairs(data, heads, shape) };
  });

  const V = config.vocab_size;
  const tokens = Array.from({ length: V }, (_, id) =>
    id < 3
      ? ['<unk>', '<s>', '</s>'][id]
      : id < 259
        ? `<0x${(id - 3).toString(16).toUpperCase().padStart(2, '0')}>`
        : `token${id}`,
  );
  const kindOf = (id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1);
  const metadata = [
    ['general.architecture', 'string', 'llama'],
    ['general.alignment', 'uint32', alignment],
    ['llama.context_length', 'uint32', config.max_position_embeddings],
    ['llama.embedding_length', 'uint32', config.hidden_size],
    ['llama.block_count', 'uint32', config.num_hidden_layers],
    ['llama.feed_forward_length', 'uint32', config.intermediate_size],
    ['llama.attention.head_count', 'uint32', H],
    ['llama.attention.head_count_kv', 'uint32', K],
    ['llama.attention.layer_norm_rms_epsilon', 'float32', config.rms_norm_eps],
    ['llama.rope.dimension_count', 'uint32', config.hidden_size / H],
    ['llama.vocab_size', 'uint32', V],
    ['tokenizer.ggml.model', 'string', 'llama'],
    ['tokenizer.ggml.tokens', 'array', ['string', tokens]],
    ['tokenizer.ggml.scores', 'array', ['float32', tokens.map((_, id) => -id)]],
    ['tokenizer.ggml.token_type', 'array', ['int32', tokens.map((_, id) => kindOf(id))]],
    ['tokenizer.ggml.bos_token_id', 'uint32', 1],
    ['tokenizer.ggml.eos_token_id', 'uint32', 2],
    ['tokenizer.ggml.unknown_token_id', 'uint32', 0],
  ];
  const head = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(metadata.length)];
  for (const [key, kind, value] of metadata) head.push(string(key), u32(kinds[kind]), ...encode(kind, value));
  let offset = 0;
  const places = tensors.map(({ data }) => {
    const at = offset;
    offset += Math.ceil(data.byteLength / alignment) * alignment;
    return at;
  });
  tensors.forEach(({ name, shape }, i) => {
    const dims = [...shape].reverse();
    head.push(string(name), u32(dims.length), ...dims.map(u64), u32(0), u64(places[i]));
  });
  const start = Math.ceil(head.reduce((sum, { length }) => sum + length, 0) / alignment) * alignment;
  const bytes = Buffer.alloc(start + offset);
  Buffer.concat(head).copy(bytes);
  tensors.forEach(({ data }, i) => {
    Buffer.from(data.buffer, data.byteOffset, data.byteLength).copy(bytes, start + places[i]);
  });
  writeFileSync(file, bytes);
  return config;
}

const u32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const string = (text) => Buffer.concat([u64(Buffer.byteLength(text)), Buffer.from(text)]);

function encode(kind, value) {
  switch (kind) {
    case 'uint32':
      return [u32(value)];
    case 'int32':
      return [Buffer.from(Int32Array.of(value).buffer)];
    case 'float32':
      return [Buffer.from(Float32Array.of(value).buffer)];
    case 'string':
      return [string(value)];
    default: {
      const [inner, values] = value;
      return [u32(kinds[inner]), u64(values.length), ...values.flatMap((one) => encode(inner, one))];
    }
  }
}

const parts = {
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  post_attention_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
};

function ggufName(name) {
  if (name === 'model.embed_tokens.weight') return 'token_embd.weight';
  if (name === 'model.norm.weight') return 'output_norm.weight';
  if (name === 'lm_head.weight') return 'output.weight';
  const [, layer, part] = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name);
  return `blk.${layer}.${parts[part]}.weight`;
}

/** Rows of each head from halves, as transformers rotates them, to pairs, as llama.cpp does. */
function pairs(data, heads, [rows, columns]) {
  const size = rows / heads;
  const out = new Float32Array(data.length);
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < size; row++) {
      const from = head * size + (row % 2) * (size / 2) + Math.floor(row / 2);
      out.set(data.subarray(from * columns, (from + 1) * columns), (head * size + row) * columns);
    }
  }
  return out;
}
