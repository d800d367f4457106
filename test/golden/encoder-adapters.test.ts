/**
 * Adapters on encoders against PEFT, both ways (see peft.test.ts, whose tolerances these are): PEFT's give its logits and
 * gradients here, heed's are, byte for byte, those that PEFT loaded (check-peft.py).
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
import { loadAdapter, saveAdapter } from '../../src/models/adapter-folder.ts';
import { weightTypes } from '../../src/models/causal-model.ts';
import { loadScoreBase, readClassifier } from '../../src/models/encoder-checkpoint.ts';
import { encoderScoreModel } from '../../src/models/encoder-score.ts';
import { defaultLora, type LoraConfig } from '../../src/models/lora-config.ts';
import { attachLora, type ModelWithParameters } from '../../src/models/lora-model.ts';
import { expectClose } from '../support/engines-agree.ts';
import { evaluateClassifier } from '../support/golden-encoder.ts';
import { goldenFolder, readGolden } from '../support/golden-model.ts';

const temporary = mkdtempSync(join(tmpdir(), 'heed-encoder-adapters-'));
afterAll(() => rmSync(temporary, { recursive: true }));

/** Logits of one sequence, and the gradient of their sum by everything that is trained. */
async function score({ model, parameters }: ModelWithParameters, ids: readonly number[]) {
  const types: Record<string, TensorType> = {
    ...weightTypes(model),
    ids: { dtype: 'int64', shape: [1, ids.length] },
    last: { dtype: 'int64', shape: [1] },
  };
  const names = parameters.specs.map((spec) => spec.name);
  const program = trace(types, (inputs) => {
    const logits = model.labels!.score(inputs, { ids: inputs['ids']!, last: inputs['last']! });
    const slopes = gradients(
      sum(logits),
      names.map((name) => inputs[name]!),
    );
    return { logits, ...Object.fromEntries(slopes.map((slope, n) => [names[n], slope])) };
  });
  const outputs = await (await createInterpreter().compile(program)).run({
    ...parameters.arrays(),
    ids: BigInt64Array.from(ids, BigInt),
    last: BigInt64Array.of(BigInt(ids.length - 1)),
  });
  return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data as Float64Array]));
}

const encoder = (name: string): ModelWithParameters => {
  const { model, parameters } = readClassifier(goldenFolder(name));
  return { model: encoderScoreModel(model), parameters };
};

interface Recorded {
  readonly base: string;
  readonly ids: readonly number[];
  readonly adapterLogits: readonly number[];
  readonly gradientNorms: Readonly<Record<string, number>>;
}

/** Names of trained tensors as PEFT has them → as they are here. */
const ownName = (name: string): string =>
  name
    .replace(/\.base_layer\.bias$/, '.bias')
    .replace(/\.original_module\./, '.')
    .replace(/lora_magnitude_vector\.weight$/, 'lora_magnitude_vector');

describe.each(['bert', 'modernbert'])('an adapter that PEFT wrote on %s', (name) => {
  const folder = goldenFolder(`peft-${name}`);
  const { base, ids, adapterLogits, gradientNorms } = readGolden(`peft-${name}`, 'recorded.json') as Recorded;

  it('gives its logits and its gradients', async () => {
    const loaded = loadAdapter(folder, encoder(base));
    const outputs = await score(loaded, ids);
    expectClose('logits', outputs['logits']!, adapterLogits, [adapterLogits.length], 1e-6);
    expect(loaded.parameters.specs.map((spec) => spec.name).sort()).toEqual(
      Object.keys(gradientNorms).map(ownName).sort(),
    );
    for (const [tensor, norm] of Object.entries(gradientNorms))
      expect(Math.abs(Math.hypot(...outputs[ownName(tensor)]!) / norm - 1), tensor).toBeLessThan(5e-5);
  });

  it('is a classifier by its folder alone, merged', async () => {
    const loaded = readClassifier(folder);
    const { scores } = await evaluateClassifier(createInterpreter(), loaded, {
      ...{ ids: [ids], counted: [ids.map(() => 1)], labels: [0] },
    });
    expectClose('logits', scores!, adapterLogits, [adapterLogits.length], 1e-5);
  });
});

/** Adapters that heed writes: name → base and settings. */
const written: Readonly<Record<string, readonly [base: string, config: Partial<LoraConfig>]>> = {
  bert: ['bert-pairs', { r: 3, alpha: 6, modulesToSave: ['bert.pooler', 'classifier'] }],
  modernbert: [
    'modernbert-cls',
    { r: 2, alpha: 4, dora: true, rslora: true, modulesToSave: ['head', 'classifier'] },
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

describe.each(Object.entries(written))('an adapter that heed writes on %s', (name, [base, settings]) => {
  const rng = createRng(11);
  const adapted = attachLora(encoder(base), { ...defaultLora, ...settings }, { rng });
  for (const { name: tensor } of adapted.parameters.specs) {
    const noise = adapted.parameters.view(tensor).slice();
    rng.split('disturb').split(tensor).fillNormal(noise, 0.3);
    const view = adapted.parameters.view(tensor);
    for (let i = 0; i < view.length; i++) view[i] = view[i]! + noise[i]!;
  }
  const place = join(keep ?? temporary, `written-${name}`);
  saveAdapter(place, { ...adapted, base });
  const ids = [5, 17, 2, 2, 11, 23, 0, 9, 14, 1, 20, 7];

  it.runIf(keep !== undefined)('leaves its logits for check-peft.py', async () => {
    const logits = Array.from((await score(adapted, ids))['logits']!);
    writeFileSync(join(place, 'logits.json'), JSON.stringify({ ids, logits }));
  });

  it.runIf(keep === undefined)('is the one that PEFT has loaded, and gives its logits', async () => {
    const record = checked.adapters[name]!;
    expect(record.difference).toBeLessThan(1e-6);
    const hash = createHash('sha256');
    for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
      hash.update(readFileSync(join(place, file)));
    expect(hash.digest('hex')).toBe(record.sha256);
    const { logits } = await score(adapted, ids);
    expectClose('logits', logits!, record.logits, [record.logits.length], 1e-6);
  });
});

describe('the base of a reward model', () => {
  it('is an encoder with one number, whose head is new where the checkpoint has other labels', async () => {
    const { model, parameters, config, fresh } = await loadScoreBase(goldenFolder('bert-pairs'));
    expect(fresh).toEqual(['classifier.weight', 'classifier.bias']);
    expect(parameters.view('classifier.weight').length).toBe(16);
    const stored = readClassifier(goldenFolder('bert-pairs')).parameters;
    for (const name of ['bert.pooler.dense.weight', 'bert.encoder.layer.1.output.dense.bias'])
      expect(parameters.view(name)).toEqual(stored.view(name));
    expect(config).toMatchObject({
      architectures: ['BertForSequenceClassification'],
      num_labels: 1,
      id2label: { 0: 'LABEL_0' },
      problem_type: 'regression',
    });
    expect(() => model.forward({}, {} as never)).toThrow('bert: expected a language model');
  });

  it('is a language model where it is given one, and takes no packed encoder', async () => {
    expect((await loadScoreBase(goldenFolder('llama-plain'))).model.labels).toBeUndefined();
    await expect(loadScoreBase(goldenFolder('bert-pairs'), { quantize: { bits: 8 } })).rejects.toThrow(
      '--quantize-base: expected none, for an encoder, received 8bit',
    );
  });
});
