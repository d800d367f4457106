import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CheckpointError } from '../core/errors.ts';
import { readModel } from './checkpoint.ts';
import { readLlama2c } from './llama2c.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-llama2c-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'model.bin');

/** D = 8, F = 3, two layers, two heads of four, one key/value head, V = 5, four positions: floats 0, 1, 2, … in file order. */
function writeCounting(tied: boolean): void {
  const floats = 40 + 2 * (8 + 64 + 32 + 32 + 64 + 8 + 3 * 24) + 8 + 16 + (tied ? 0 : 40);
  const bytes = new ArrayBuffer(28 + 4 * floats);
  new Int32Array(bytes, 0, 7).set([8, 3, 2, 2, 1, tied ? 5 : -5, 4]);
  new Float32Array(bytes, 28).set(Float32Array.from({ length: floats }, (_, index) => index));
  writeFileSync(file, new Uint8Array(bytes));
}

describe('readLlama2c', () => {
  it('finds each tensor of each layer and turns neighbouring rotary pairs into halves', () => {
    writeCounting(true);
    const { config, parameters } = readModel(file);
    expect(config).toMatchObject({
      hidden_size: 8,
      num_key_value_heads: 1,
      tie_word_embeddings: true,
      vocab_size: 5,
    });
    const first = (name: string): number => parameters.view(name)[0]!;
    // Offsets: embedding 40; norms 2·8; q 2·64; k 2·32; v 2·32; o 2·64; norms 2·8; w1, w2, w3 2·24 each; norm 8.
    expect(first('model.embed_tokens.weight')).toBe(0);
    expect(first('model.layers.1.input_layernorm.weight')).toBe(48);
    expect(first('model.layers.0.self_attn.v_proj.weight')).toBe(248);
    expect(first('model.layers.1.self_attn.o_proj.weight')).toBe(312 + 64);
    expect(first('model.layers.0.post_attention_layernorm.weight')).toBe(440);
    expect(first('model.layers.0.mlp.gate_proj.weight')).toBe(456);
    expect(first('model.layers.1.mlp.down_proj.weight')).toBe(504 + 24);
    expect(first('model.layers.0.mlp.up_proj.weight')).toBe(552);
    expect(first('model.norm.weight')).toBe(600);
    // Rows of a head of four: 0, 2 come first, then 1, 3.
    const rows = (name: string): number[] => [...parameters.view(name)].filter((_, index) => index % 8 === 0);
    const q = 56 + 64; // second layer
    expect(rows('model.layers.1.self_attn.q_proj.weight')).toEqual(
      [0, 2, 1, 3, 4, 6, 5, 7].map((row) => q + 8 * row),
    );
    expect(rows('model.layers.0.self_attn.k_proj.weight')).toEqual([0, 2, 1, 3].map((row) => 184 + 8 * row));
  });

  it('reads a classifier of its own after the tables', () => {
    writeCounting(false);
    const { config, parameters } = readModel(file);
    expect(config).toMatchObject({ tie_word_embeddings: false, vocab_size: 5 });
    expect(parameters.view('lm_head.weight')[0]).toBe(608 + 16);
  });

  it('refuses a file whose size does not fit its header, and a wrong header', () => {
    writeCounting(true);
    const { weights } = readLlama2c(file);
    expect(weights.get('model.norm.weight')!.shape).toEqual([8]);
    truncateSync(file, 1000);
    expect(() => readLlama2c(file)).toThrow(/2524 bytes for header 8, 3, 2, 2, 1, 5, 4, received 1000/);
    truncateSync(file, 20);
    expect(() => readLlama2c(file)).toThrow(CheckpointError);
    writeFileSync(file, new Uint8Array(28));
    expect(() => readLlama2c(file)).toThrow(/header 0, 0, 0, 0, 0, 0, 0/);
    expect(() => readLlama2c(join(folder, 'none.bin'))).toThrow(/no such file/);
  });
});

const stories = new URL('../../../shared/data/models/stories260K', import.meta.url).pathname;

describe.skipIf(!existsSync(stories))('stories260K', () => {
  it('has the bits of the same model in the Hugging Face layout', () => {
    const own = readModel(join(stories, 'stories260K.bin'));
    const hf = readModel(join(stories, 'hf'));
    expect(own.parameters.count).toBe(260032);
    expect(Buffer.from(own.parameters.buffer).equals(Buffer.from(hf.parameters.buffer))).toBe(true);
    expect(own.config).toEqual(hf.config);
  });
});
