/**
 * Adapters against PEFT, both ways: adapters that PEFT wrote give its logits and gradients here, and adapters that heed
 * writes are, byte for byte, those that PEFT loaded and computed with (check-peft.py).
 *
 * Tolerances are relative to the largest number: 1e-6 in float64 (rotary angles are formed in float32 by both), 1e-5 in
 * float32; norms of gradients 5e-5, as a loss of large logits magnifies both. The base without adapter is 0.5 or more away, a scale wrong by a twentieth 0.016 or more.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.ts';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { gradients } from '../../src/graph/gradient.ts';
import { sum } from '../../src/graph/ops/reduce.ts';
import { trace } from '../../src/graph/program.ts';
import type { TensorType } from '../../src/graph/tensor.ts';
import { saveAdapter } from '../../src/models/adapter-folder.ts';
import { weightTypes } from '../../src/models/causal-model.ts';
import { type LoadedModel, readModel, saveModel } from '../../src/models/checkpoint.ts';
import { defaultLora, type LoraConfig } from '../../src/models/lora-config.ts';
import { attachLora, isLoraModel, type ModelWithParameters } from '../../src/models/lora-model.ts';
import { mergeAdapter, mergeLora } from '../../src/models/merge-adapter.ts';
import { SCORE_WEIGHT } from '../../src/models/score-model.ts';
import { scoreHead } from '../../src/nn/heads.ts';
import { expectClose, sharedOrt } from '../support/engines-agree.ts';
import { evaluate, goldenFolder, goldenModels, readGolden } from '../support/golden-model.ts';

interface Recorded {
  readonly base: string;
  readonly ids: readonly number[];
  readonly adapterLogits: readonly (readonly number[])[] | readonly number[];
  readonly loss: number;
  readonly gradientNorms: Readonly<Record<string, number>>;
}

const names = [
  ...['llama', 'llama-rslora-patterns', 'llama-dora', 'gpt2', 'gpt2-dora', 'qwen2-head', 'qwen2-tied'],
  ...['gemma3', 'phi3', 'gpt_neox'],
];
const temporary = mkdtempSync(join(tmpdir(), 'heed-peft-'));
afterAll(() => rmSync(temporary, { recursive: true }));

/** Names of trained tensors as PEFT has them → as they are here. */
const ownName = (name: string): string =>
  name
    .replace(/\.base_layer\.bias$/, '.bias')
    .replace(/\.original_module\./, '.')
    .replace(/lora_magnitude_vector\.weight$/, 'lora_magnitude_vector');

describe.each(names)('an adapter that PEFT wrote: %s', (name) => {
  const folder = goldenFolder(`peft-${name}`);
  const { ids, adapterLogits, loss, gradientNorms } = readGolden(`peft-${name}`, 'recorded.json') as Recorded;
  const logits = adapterLogits as readonly (readonly number[])[];
  const shape = [ids.length, logits[0]!.length];
  const check = async (
    loaded: ModelWithParameters,
    engine: 'interpreter' | 'ort',
    tolerance: number,
  ): Promise<void> => {
    const outputs = await evaluate(engine === 'ort' ? sharedOrt() : createInterpreter(), loaded, { ids });
    expectClose('logits', outputs.logits!, logits.flat(), shape, tolerance);
    expectClose('loss', outputs.loss!, [loss], [], tolerance);
  };

  // The folder stands for the base model that it names, with the adapter over it.
  it('gives its logits and its loss', async () => {
    await check(readModel(folder), 'interpreter', 1e-6);
    await check(readModel(folder), 'ort', 1e-5);
  });

  it('gives its gradients by every trained tensor', async () => {
    const loaded = readModel(folder);
    const outputs = await evaluate(createInterpreter(), loaded, { ids, withGradients: true });
    expect(loaded.parameters.specs.map((spec) => spec.name).sort()).toEqual(
      Object.keys(gradientNorms).map(ownName).sort(),
    );
    for (const [tensor, norm] of Object.entries(gradientNorms)) {
      const gradient = outputs[`gradient of ${ownName(tensor)}`] as Float64Array;
      expect(Math.abs(Math.hypot(...gradient) / norm - 1), tensor).toBeLessThan(5e-5);
    }
  });

  it('gives the same logits merged, saved and loaded again', async () => {
    const merged = mergeAdapter(readModel(folder));
    expect(isLoraModel(merged.model)).toBe(false);
    const place = join(temporary, name);
    saveModel(place, { config: merged.config, parameters: merged.parameters });
    // Merged weights are rounded to float32.
    await check(readModel(place), 'interpreter', 1e-5);
  });
});

async function score({ model, parameters }: ModelWithParameters, ids: readonly number[]) {
  const T = ids.length;
  const integers = { dtype: 'int64', shape: [1, T] } as const;
  const types: Record<string, TensorType> = {
    ...{ ...weightTypes(model), ids: integers, positions: integers },
    last: { dtype: 'int64', shape: [1] },
  };
  const program = trace(types, (inputs) => {
    const { hidden } = model.forward(inputs, { ids: inputs['ids']!, positions: inputs['positions']! });
    const scores = scoreHead(hidden, inputs[SCORE_WEIGHT]!, inputs['last']!);
    const trained = parameters.specs.map((spec) => inputs[spec.name]!);
    const slopes = gradients(sum(scores), trained);
    return {
      scores,
      ...Object.fromEntries(slopes.map((slope, n) => [parameters.specs[n]!.name, slope])),
    };
  });
  const outputs = await (await createInterpreter().compile(program)).run({
    ...parameters.arrays(),
    ids: BigInt64Array.from(ids, BigInt),
    positions: BigInt64Array.from(ids.keys(), BigInt),
    last: BigInt64Array.of(BigInt(T - 1)),
  });
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { data }]) => [name, Array.from(data as Float64Array)]),
  );
}

describe('an adapter of a sequence classifier that PEFT wrote', () => {
  it('gives its scores and gradients, with the score head trained whole', async () => {
    const { ids, adapterLogits, gradientNorms } = readGolden('peft-llama-score', 'recorded.json') as Recorded;
    const loaded = readModel(goldenFolder('peft-llama-score'));
    const outputs = await score(loaded, ids);
    expectClose('scores', Float64Array.from(outputs['scores']!), adapterLogits as number[], [1], 1e-6);
    for (const [tensor, norm] of Object.entries(gradientNorms)) {
      expect(Math.abs(Math.hypot(...outputs[ownName(tensor)]!) / norm - 1), tensor).toBeLessThan(5e-5);
    }
  });
});

describe.each(goldenModels)('an adapter on every linear layer: %s', (name) => {
  const base = readModel(goldenFolder(name));
  const { ids } = readGolden(name, 'recorded.json') as Recorded;
  const { model, parameters } = attachLora(base, { ...defaultLora, r: 2, alpha: 4 });
  for (const { name: tensor } of parameters.specs)
    createRng(1).split(tensor).fillNormal(parameters.view(tensor), 0.3);

  it('changes all matrices but embeddings, and each has a gradient', async () => {
    const matrices = base.model.parameters.filter(({ shape }) => shape.length === 2).map((spec) => spec.name);
    const others = matrices.filter(
      (matrix) => !model.lora.targets.some(({ module }) => matrix === `${module}.weight`),
    );
    expect(
      others
        .join(' ')
        .replaceAll(/\S*(embed|wte|wpe|lm_head)\S*/g, '')
        .trim(),
    ).toBe('');
    const outputs = await evaluate(sharedOrt(), { model, parameters }, { ids, withGradients: true });
    for (const { name: tensor } of parameters.specs) {
      const gradient = outputs[`gradient of ${tensor}`] as Float32Array;
      expect(Math.hypot(...gradient), tensor).toBeGreaterThan(1e-6);
    }
  });

  it('is the merged model', async () => {
    const [apart, merged] = await Promise.all(
      [{ model, parameters }, mergeLora({ model, parameters })].map((loaded) =>
        evaluate(createInterpreter(), loaded, { ids }),
      ),
    );
    const wanted = merged!.logits as Float64Array;
    // Merged weights are rounded to float32.
    expectClose('logits', apart!.logits!, wanted, [wanted.length], 1e-5);
  });
});

/** Adapters that heed writes: name → base and settings. */
const written: Readonly<Record<string, readonly [base: string, config: Partial<LoraConfig>]>> = {
  llama: ['llama-grouped-tied', { r: 4, alpha: 6 }],
  'llama-rslora-patterns': [
    'llama-plain',
    {
      ...{ r: 4, alpha: 6, rslora: true, targetModules: ['q_proj', 'down_proj'] },
      rankPattern: { q_proj: 2, 'layers\\.1\\.mlp\\.(up|down)_proj': 3 },
      alphaPattern: { 'layers.0.mlp.down_proj': 9 },
    },
  ],
  'llama-score': ['llama-score', { r: 2, alpha: 4, modulesToSave: ['score'] }],
  gpt2: ['gpt2-plain', { r: 3, alpha: 6, targetModules: ['c_attn', 'c_proj'], bias: 'lora_only' }],
  'gpt2-dora': ['gpt2-plain', { r: 2, alpha: 4, dora: true, bias: 'all', modulesToSave: ['wpe'] }],
  'qwen2-head': [
    'qwen2-window',
    { r: 2, alpha: 8, dora: true, targetModules: ['k_proj', 'up_proj'], modulesToSave: ['lm_head'] },
  ],
  'qwen2-tied': ['qwen2-full', { r: 2, alpha: 8, modulesToSave: ['embed_tokens'] }],
  gemma3: [
    'gemma3_text-pattern',
    { r: 4, alpha: 4, targetModules: { regex: '.*layers\\.[02]\\..*(q|o|up)_proj' } },
  ],
};
const checked = readGolden('peft-written.json') as {
  readonly adapters: Readonly<
    Record<
      string,
      { readonly sha256: string; readonly logits: readonly number[]; readonly difference: number }
    >
  >;
};
/** Where to leave the adapters for check-peft.py. */
const keep = process.env['HEED_PEFT_OUTPUT'];

describe.each(Object.entries(written))('an adapter that heed writes: %s', (name, [base, settings]) => {
  const source = readModel(goldenFolder(base));
  const rng = createRng(11);
  const adapted = attachLora(source, { ...defaultLora, ...settings }, { rng });
  for (const { name: tensor, shape } of adapted.parameters.specs) {
    const view = adapted.parameters.view(tensor);
    const start = view.slice();
    rng
      .split('disturb')
      .split(tensor)
      .fillNormal(view, tensor.includes('lora_') && shape.length > 1 ? 0.4 : 0.1);
    if (!tensor.includes('lora_A') && !tensor.includes('lora_B'))
      for (let i = 0; i < view.length; i++) view[i] = view[i]! + start[i]!;
  }
  const place = join(keep ?? temporary, `written-${name}`);
  saveAdapter(place, { ...adapted, base });
  const ids = [5, 17, 2, 2, 11, 23, 0, 9, 14, 1, 20, 7].map((id) => id % source.model.vocabSize);
  const logits = async ({ model, parameters }: Pick<LoadedModel, 'model' | 'parameters'>) =>
    name === 'llama-score'
      ? (await score({ model, parameters }, ids))['scores']!
      : Array.from(
          (await evaluate(createInterpreter(), { model, parameters }, { ids })).logits as Float64Array,
        );

  it.runIf(keep !== undefined)('leaves its logits for check-peft.py', async () => {
    writeFileSync(join(place, 'logits.json'), JSON.stringify({ ids, logits: await logits(adapted) }));
  });

  it.runIf(keep === undefined)('is the one that PEFT has loaded, and gives its logits', async () => {
    const record = checked.adapters[name]!;
    expect(record.difference).toBeLessThan(1e-6);
    expect(hashOf(place)).toBe(record.sha256);
    expectClose(
      'logits',
      Float64Array.from(await logits(adapted)),
      record.logits,
      [record.logits.length],
      1e-6,
    );
  });

  it('loads again with equal numbers, from its folder and over a given base', async () => {
    const loaded = readModel(goldenFolder(base), { adapter: place });
    expect(loaded.parameters.flat).toEqual(adapted.parameters.flat);
    expect(await logits(loaded)).toEqual(await logits(adapted));
  });
});

/** SHA-256 over both files of an adapter. */
function hashOf(folder: string): string {
  const hash = createHash('sha256');
  for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
    hash.update(readFileSync(join(folder, file)));
  return hash.digest('hex');
}
