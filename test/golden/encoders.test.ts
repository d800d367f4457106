/**
 * Classifiers against logits and gradients that transformers gave (record-encoders.py), and against themselves: padded
 * and single rows, saved and loaded weights. Tolerances as in models.test.ts. The nearest wrong variant (the tanh form of
 * GELU in BERT, whose layers end in a normalisation) is 7e-5 away: 70 tolerances of the interpreter, 7 of ONNX Runtime.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { saveModel } from '../../src/models/checkpoint.ts';
import { readClassifier } from '../../src/models/encoder-checkpoint.ts';
import { buildClassifier, buildModel, classifierTypes } from '../../src/models/registry.ts';
import { readFolderHeader, readHeader, readTensor } from '../../src/models/safetensors.ts';
import { expectClose, sharedOrt } from '../support/engines-agree.ts';
import { evaluateClassifier, goldenEncoders, type RecordedScores } from '../support/golden-encoder.ts';
import { goldenFolder, readGolden } from '../support/golden-model.ts';

const engines = { interpreter: createInterpreter, ort: sharedOrt };
const tolerances = { interpreter: 1e-6, ort: 1e-5 };

describe.each(goldenEncoders)('%s', (name) => {
  const folder = goldenFolder(name);
  const recorded = readGolden(name, 'recorded.json') as RecordedScores;
  const shape = [recorded.ids.length, recorded.scores[0]!.length];

  it.each([
    ['config.json', 'interpreter'],
    ['config.transformers-5.json', 'interpreter'],
    ['config.json', 'ort'],
  ] as const)('gives the logits and the loss of transformers (%s, %s)', async (configFile, engine) => {
    const { parameters } = readClassifier(folder);
    const model = buildClassifier(readGolden(name, configFile) as Record<string, unknown>);
    const outputs = await evaluateClassifier(engines[engine](), { model, parameters }, recorded);
    expectClose('scores', outputs.scores!, recorded.scores.flat(), shape, tolerances[engine]);
    expectClose('loss', outputs.loss!, [recorded.loss], [], tolerances[engine]);
    for (const distance of Object.values(recorded.nearest)) {
      expect(distance).toBeGreaterThan(10 * tolerances.interpreter);
    }
  });

  it.each([
    ['interpreter', 2e-6],
    ['ort', 1e-5],
  ] as const)('has the gradients of PyTorch (%s)', async (engine, tolerance) => {
    const loaded = readClassifier(folder);
    const stored = readHeader(join(folder, 'gradients.safetensors'));
    expect([...stored.keys()].sort()).toEqual(loaded.parameters.specs.map((spec) => spec.name).sort());
    const outputs = await evaluateClassifier(engines[engine](), loaded, recorded, true);
    // A bias of keys shifts all scores of a row alike: its gradient is 0 but for rounding, so all are compared on one scale.
    const largest = Math.max(
      ...[...stored].map(([weight, tensor]) => {
        const wanted = loaded.parameters.view(weight).slice();
        readTensor(tensor, wanted);
        return wanted.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      }),
    );
    for (const [weight, tensor] of stored) {
      const wanted = loaded.parameters.view(weight).slice();
      readTensor(tensor, wanted);
      const own = wanted.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      const scale = own < 1e-6 * largest ? largest / own : 1;
      expectClose(weight, outputs[`gradient of ${weight}`]!, wanted, tensor.shape, tolerance * scale);
    }
  });

  it('gives a row alone what it gives it among others', async () => {
    const loaded = readClassifier(folder);
    const engine = createInterpreter();
    const together = (await evaluateClassifier(engine, loaded, recorded)).scores!;
    const apart: number[] = [];
    for (const [row, counted] of recorded.counted.entries()) {
      const length = counted.filter((c) => c === 1).length;
      const cut = (rows: readonly (readonly number[])[]) => [rows[row]!.slice(0, length)];
      const alone = await evaluateClassifier(engine, loaded, {
        ids: cut(recorded.ids),
        counted: cut(recorded.counted),
        labels: [recorded.labels[row]!],
        ...(recorded.types === undefined ? {} : { types: cut(recorded.types) }),
      });
      apart.push(...Array.from(alone.scores!, Number));
    }
    expectClose('scores', together, apart, shape, 1e-12);
  });

  it('keeps every weight through save and load, under the names of the original', () => {
    const { config, parameters } = readClassifier(folder);
    const place = mkdtempSync(join(tmpdir(), 'heed-golden-'));
    try {
      saveModel(join(place, 'model'), { config, parameters });
      expect(readClassifier(join(place, 'model')).parameters.flat).toEqual(parameters.flat);
      const names = (at: string): string[] => [...readFolderHeader(at).keys()].sort();
      expect(names(join(place, 'model'))).toEqual(names(folder));
    } finally {
      rmSync(place, { recursive: true });
    }
  });
});

it('there is a golden model of every type of classifier', () => {
  const types = goldenEncoders.map(
    (name) => (readGolden(name, 'config.json') as { model_type: string }).model_type,
  );
  expect([...new Set(types)].sort()).toEqual([...classifierTypes].sort());
});

it('says which loader a model needs', () => {
  const config = readGolden('bert-pairs', 'config.json') as Record<string, unknown>;
  expect(() => buildModel(config)).toThrow(
    'It is an encoder, which writes no text: name a language model. Encoders are for bt-rm',
  );
  expect(() => buildClassifier({ ...config, architectures: ['BertModel'] })).toThrow(
    'architectures: expected a model for sequence classification (…ForSequenceClassification), received ["BertModel"]',
  );
  expect(() => buildClassifier({ model_type: 'llama' })).toThrow('It is a decoder: load it with loadModel');
  expect(() => buildClassifier({ model_type: 'constructor' })).toThrow('expected bert, modernbert');
  expect(() => buildClassifier({ ...config, id2label: { 0: 'a', 2: 'b' } })).toThrow(
    'id2label: expected a name for each of 2 labels, received none for 1',
  );
});
