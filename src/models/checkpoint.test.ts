import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CheckpointError, DataError } from '../core/errors.ts';
import { createRng } from '../core/rng.ts';
import { allocateParameters, initialize, type Parameters } from '../nn/parameters.ts';
import { loadModel, loadWeights, readModel, readModelConfig, saveModel } from './checkpoint.ts';
import { buildModel } from './registry.ts';
import { readHeader, type TensorToWrite, type WritableType, writeSafetensors } from './safetensors.ts';

const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  vocab_size: 6,
  tie_word_embeddings: true,
  somebody_elses_key: { kept: [1, null] },
  torch_dtype: 'bfloat16',
};

let folder: string;
let parameters: Parameters;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'heed-checkpoint-'));
  parameters = allocateParameters(buildModel(config).parameters);
  initialize(parameters, createRng(5));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const tensors = (): TensorToWrite[] =>
  parameters.specs.map(({ name, shape }) => ({ name, shape, data: parameters.view(name) }));
const store = (list: readonly TensorToWrite[]): void =>
  writeSafetensors(join(folder, 'model.safetensors'), list);
const message = (run: () => void): string => {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(CheckpointError);
    return (error as Error).message;
  }
  throw new Error('no error');
};

describe('saveModel and readModel', () => {
  it('give back the same bytes, keep unknown config keys and write the other files', () => {
    const path = join(folder, 'model');
    const files = { 'tokenizer.json': Uint8Array.of(1, 2), 'additional_chat_templates/x.jinja': 'hello' };
    saveModel(path, { config, parameters, files });
    const loaded = readModel(path);
    expect(loaded.parameters.flat).toEqual(parameters.flat);
    expect(loaded.model.type).toBe('llama');
    expect(loaded.config).toEqual({ ...config, torch_dtype: 'float32' });
    expect([...readFileSync(join(path, 'tokenizer.json'))]).toEqual([1, 2]);
    expect(readFileSync(join(path, 'additional_chat_templates', 'x.jinja'), 'utf8')).toBe('hello');
    expect(readdirSync(folder)).toEqual(['model']);
  });

  it('store 16-bit numbers and say so in the config, under the newer key where the config has it', () => {
    const { torch_dtype: _, ...rest } = config;
    const path = join(folder, 'model');
    saveModel(path, { config: { ...rest, dtype: 'float32' }, parameters, dtype: 'BF16' });
    expect(readModelConfig(path)).toEqual({ ...rest, dtype: 'bfloat16' });
    expect(readHeader(join(path, 'model.safetensors')).get('model.norm.weight')!.dtype).toBe('BF16');
    const loaded = readModel(path).parameters;
    // Rounding to 8 significant bits moves a number by at most one part in 2^8.
    const worst = parameters.flat.reduce(
      (w, x, i) => Math.max(w, Math.abs(loaded.flat[i]! - x) / (Math.abs(x) || 1)),
      0,
    );
    expect(worst).toBeLessThanOrEqual(2 ** -8);
    expect(worst).toBeGreaterThan(2 ** -12);
  });

  it('round what they read where a 16-bit type is asked for', async () => {
    parameters.view('model.norm.weight').set([1 + 2 ** -9, 1 + 2 ** -7, 70000]);
    const path = join(folder, 'model');
    saveModel(path, { config, parameters });
    const norm = async (dtype: WritableType): Promise<number[]> =>
      Array.from((await loadModel(path, { dtype })).parameters.view('model.norm.weight').subarray(0, 3));
    expect(await norm('F32')).toEqual([1 + 2 ** -9, 1 + 2 ** -7, 70000]);
    // bfloat16 has 7 bits of fraction, float16 ends at 65504.
    expect(await norm('BF16')).toEqual([1, 1 + 2 ** -7, 70144]);
    expect(await norm('F16')).toEqual([1 + 2 ** -9, 1 + 2 ** -7, Number.POSITIVE_INFINITY]);
  });

  it('put a score head on a language model, and read the one that is stored', async () => {
    const untied = { ...config, tie_word_embeddings: false };
    const own = allocateParameters(buildModel(untied).parameters);
    initialize(own, createRng(6));
    const path = join(folder, 'model');
    saveModel(path, { config: untied, parameters: own });
    const scored = await loadModel(path, { heads: { score: 3 } });
    expect(scored.model.parameters.at(-1)).toMatchObject({ name: 'score.weight', shape: [3, 8] });
    expect(scored.parameters.has('lm_head.weight')).toBe(false);
    expect(scored.parameters.view('score.weight').every((weight) => weight === 0)).toBe(true);
    expect(scored.parameters.view('model.norm.weight')).toEqual(own.view('model.norm.weight'));

    scored.parameters.view('score.weight').fill(2);
    const classifier = { ...untied, architectures: ['LlamaForSequenceClassification'], num_labels: 3 };
    saveModel(path, { config: classifier, parameters: scored.parameters });
    const again = await loadModel(path, { heads: { score: 3 } });
    expect(again.parameters.view('score.weight').every((weight) => weight === 2)).toBe(true);
    await expect(loadModel(path, { heads: { score: 1 } })).rejects.toThrow(/score.weight.*shape \[1, 8\]/);
  });

  it('divide the weights into shards that load again', () => {
    const path = join(folder, 'model');
    saveModel(path, { config, parameters, maxShardBytes: 1000 });
    expect(
      readdirSync(path).filter((name) => /^model-0000\d-of-0000\d\.safetensors$/.test(name)).length,
    ).toBeGreaterThan(1);
    expect(readModel(path).parameters.flat).toEqual(parameters.flat);
  });

  it('replace an older model as a whole, and nothing else', () => {
    const path = join(folder, 'model');
    saveModel(path, { config, parameters, files: { 'old.txt': 'x' } });
    parameters.flat[0] = 42;
    saveModel(path, { config, parameters });
    expect(existsSync(join(path, 'old.txt'))).toBe(false);
    expect(readModel(path).parameters.flat[0]).toBe(42);
    const documents = join(folder, 'documents');
    mkdirSync(documents);
    saveModel(documents, { config, parameters });
    rmSync(documents, { recursive: true });
    mkdirSync(documents);
    writeFileSync(join(documents, 'thesis.txt'), 'precious');
    expect(message(() => saveModel(documents, { config, parameters }))).toMatch(
      /documents.*an older model folder/,
    );
    expect(readFileSync(join(documents, 'thesis.txt'), 'utf8')).toBe('precious');
  });

  it('leave the older model and no rest when writing fails', () => {
    const path = join(folder, 'model');
    saveModel(path, { config, parameters });
    const broken = (): void => {
      throw new Error('disk on fire');
    };
    expect(() => saveModel(path, { config, parameters, extra: broken })).toThrow('disk on fire');
    expect(readdirSync(folder)).toEqual(['model']);
    expect(readModel(path).parameters.flat).toEqual(parameters.flat);
    writeFileSync(join(folder, 'file'), '');
    expect(message(() => saveModel(join(folder, 'file', 'model'), { config, parameters }))).toMatch(
      /can be written/,
    );
  });
});

describe('loadWeights', () => {
  const load = (options = {}): Parameters => {
    const target = parameters.like();
    loadWeights(folder, target, options);
    return target;
  };

  it('ignores an output embedding that is tied, and uses it where only that one is stored', () => {
    const [embedding, ...rest] = tensors();
    const other = { name: 'lm_head.weight', shape: [6, 8], data: new Float32Array(48).fill(9) };
    store([...tensors(), other]);
    expect(load().flat).toEqual(parameters.flat);
    store([{ ...embedding!, name: 'lm_head.weight' }, ...rest]);
    expect(load().flat).toEqual(parameters.flat);
  });

  it.each([
    [
      { num_hidden_layers: 1e9 },
      /num_hidden_layers: expected at most 11, the number of tensors, received 1000000000/,
    ],
    [{ vocab_size: 1e9 }, /embed_tokens.weight.*expected shape \[1000000000, 8\]/],
    [{ intermediate_size: 1e12 }, /mlp.*expected shape/],
  ])('asks for no memory before the config fits the weights: %j', (lie, problem) => {
    store(tensors());
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...lie }));
    const before = process.memoryUsage().rss;
    expect(message(() => readModel(folder))).toMatch(problem);
    expect(process.memoryUsage().rss - before).toBeLessThan(1e8);
  });

  it('asks for an output embedding that is not tied', () => {
    store(tensors());
    const untied = allocateParameters(buildModel({ ...config, tie_word_embeddings: false }).parameters);
    expect(message(() => loadWeights(folder, untied))).toMatch(/1 missing \(lm_head\.weight\)/);
  });

  it('ignores tables that follow from the config', () => {
    const name = 'model.layers.0.self_attn.rotary_emb.inv_freq';
    store([...tensors(), { name, shape: [2], data: Float32Array.of(1, 0.01) }]);
    expect(load().flat).toEqual(parameters.flat);
  });

  it('takes names from elsewhere', () => {
    store(
      tensors()
        .map((tensor) => ({ ...tensor, name: `policy.${tensor.name}` }))
        .concat({ name: 'value', shape: [], data: new Float32Array(1) }),
    );
    const rename = (name: string): string | undefined =>
      name === 'value' ? undefined : name.replace(/^policy\./, '');
    expect(load({ rename }).flat).toEqual(parameters.flat);
  });

  it('names what is missing, unexpected or of another shape, and changes nothing then', () => {
    const [first, second, ...rest] = tensors();
    store([...rest, { name: 'extra', shape: [1], data: new Float32Array(1) }]);
    const text = message(load);
    expect(text).toContain(`2 missing (${first!.name}, ${second!.name})`);
    expect(text).toContain('1 unexpected (extra)');
    const norm = tensors().findIndex(({ name }) => name === 'model.norm.weight');
    const list = tensors();
    list[norm] = { ...list[norm]!, shape: [2, 4] };
    store(list);
    const target = parameters.like();
    expect(message(() => loadWeights(folder, target))).toMatch(
      /"model\.norm\.weight".*shape \[8\].*received \[2, 4\]/,
    );
    expect(target.flat.every((x) => x === 0)).toBe(true);
  });
});

describe('readModelConfig', () => {
  it('says which file is missing or broken', () => {
    expect(message(() => readModelConfig(folder))).toMatch(/config\.json/);
    writeFileSync(join(folder, 'config.json'), '{"a":');
    expect(message(() => readModelConfig(folder))).toMatch(/config\.json: expected JSON/);
    writeFileSync(join(folder, 'config.json'), '[1]');
    expect(message(() => readModelConfig(folder))).toMatch(/expected a JSON object, received \[1\]/);
    expect(() => readModel(join(folder, 'nowhere'))).toThrow(DataError);
  });
});
