/**
 * Every architecture against logits and gradients that transformers gave (README.md here), and against itself: cached and
 * full forward pass, packed and single rows, saved and loaded weights.
 *
 * Tolerances are relative to the largest reference number. In float64 only the rotary angles differ, which both form in
 * float32: 1e-6 (gradients 2e-6). In float32 transformers itself is within 1e-6 of float64; ONNX Runtime gets 1e-5. The
 * nearest wrong variant (another window, no cap, the other GELU, …) is recorded beside the logits; it must be ten
 * tolerances away. For Llama record-llama.py asserts 1e-2 between the rope kinds.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.ts';
import { createInterpreter } from '../../src/engine/interpreter.ts';
import { createGenerator } from '../../src/generate/generate.ts';
import { readModel, saveModel } from '../../src/models/checkpoint.ts';
import { buildModel, modelTypes } from '../../src/models/registry.ts';
import { readFolderHeader, readHeader, readTensor } from '../../src/models/safetensors.ts';
import { logProbForward } from '../../src/parts/forward.ts';
import { expectClose, sharedOrt } from '../support/engines-agree.ts';
import { evaluate, goldenFolder, goldenModels, type Recorded, readGolden } from '../support/golden-model.ts';

const engines = { interpreter: createInterpreter, ort: sharedOrt };
const tolerances = { interpreter: 1e-6, ort: 1e-5 };

describe.each(goldenModels)('%s', (name) => {
  const folder = goldenFolder(name);
  const { ids, logits, loss, nearest } = readGolden(name, 'recorded.json') as Recorded;
  const shape = [ids.length, logits[0]!.length];

  it.each([
    ['config.json', 'interpreter'],
    ['config.transformers-5.json', 'interpreter'],
    ['config.json', 'ort'],
  ] as const)('gives the logits and the loss of transformers (%s, %s)', async (configFile, engine) => {
    const { parameters } = readModel(folder);
    const model = buildModel(readGolden(name, configFile) as Record<string, unknown>);
    const outputs = await evaluate(engines[engine](), { model, parameters }, { ids });
    expectClose('logits', outputs.logits!, logits.flat(), shape, tolerances[engine]);
    expectClose('loss', outputs.loss!, [loss], [], tolerances[engine]);
    for (const distance of Object.values(nearest ?? {}))
      expect(distance).toBeGreaterThan(10 * tolerances.ort);
  });

  // Under dynamic scaling a token's angles depend on the length of the row, so that these two do not hold.
  const dynamic = JSON.stringify(readGolden(name, 'config.json')).includes('"dynamic"');

  it.skipIf(dynamic)(
    'generates with the log-probabilities of a full pass, through prefill and cache',
    async () => {
      const { model, parameters } = readModel(folder);
      const engine = sharedOrt();
      const generator = createGenerator({ engine, model, parameters });
      const prompts = [[...ids.slice(0, 7)], [...ids.slice(0, 2)], [...ids.slice(4, 7)]].filter(
        ({ length }) => length < model.maxPositions,
      );
      const completions = await generator.generate(prompts, {
        ...{
          temperature: 1,
          topK: 0,
          topP: 1,
          maxNewTokens: 12,
          stopIds: new Set<number>(),
          rng: createRng(2),
        },
      });
      generator.dispose();
      const sequences = completions.map(({ ids: completion }, i) => ({
        ids: [...prompts[i]!, ...completion],
        mask: [...prompts[i]!.map(() => 0), ...completion.map(() => 1)],
      }));
      const forward = logProbForward({ engine, model, parameters, batchSize: 4, bucket: 8 });
      const full = await forward.run(sequences);
      forward.dispose();
      completions.forEach(({ logProbs, samplingLogProbs }, i) => {
        expect(logProbs.length).toBeGreaterThan(0);
        logProbs.forEach((logProb, t) => {
          expect(Math.abs(logProb - full[i]![prompts[i]!.length - 1 + t]!)).toBeLessThan(1e-4);
          // At temperature 1 the distribution that was drawn from is the model's own.
          expect(Math.abs(samplingLogProbs[t]! - logProb)).toBeLessThan(1e-4);
        });
      });
    },
  );

  it.skipIf(dynamic)('gives a row of two packed sequences the logits of each alone', async () => {
    const loaded = readModel(folder);
    const [first, second] = [ids.slice(0, 5), ids.slice(5)];
    const packed = {
      positions: [...first.keys(), ...second.keys()],
      segments: [...first.map(() => 1), ...second.map(() => 2)],
    };
    const engine = createInterpreter();
    const together = (await evaluate(engine, loaded, { ids, packed })).logits!;
    const apart = await Promise.all(
      [first, second].map(async (part) =>
        Array.from((await evaluate(engine, loaded, { ids: part })).logits!, Number),
      ),
    );
    expectClose('logits', together, apart.flat(), shape, 1e-12);
  });

  it('keeps every weight through save and load, under the names of the original', () => {
    const { config, parameters } = readModel(folder);
    const place = mkdtempSync(join(tmpdir(), 'heed-golden-'));
    try {
      saveModel(join(place, 'model'), { config, parameters });
      expect(readModel(join(place, 'model')).parameters.flat).toEqual(parameters.flat);
      const names = (at: string): string[] => [...readFolderHeader(at).keys()].sort();
      expect(names(join(place, 'model'))).toEqual(names(folder));
    } finally {
      rmSync(place, { recursive: true });
    }
  });
});

describe.each(goldenModels.filter((name) => readGradients(name) !== undefined))('gradients of %s', (name) => {
  const recorded = readGradients(name)!;
  const { ids } = readGolden(name, 'recorded.json') as Recorded;

  it.each([
    ['interpreter', false],
    ['interpreter', true],
    ['ort', false],
  ] as const)('are those of PyTorch (%s, rematerialized: %s)', async (engine, rematerialize) => {
    const loaded = readModel(goldenFolder(name));
    expect([...recorded.keys()].sort()).toEqual(loaded.parameters.specs.map((spec) => spec.name).sort());
    const options = { ids, withGradients: true, rematerialize };
    const outputs = await evaluate(engines[engine](), loaded, options);
    const tolerance = engine === 'ort' ? 1e-5 : 2e-6;
    for (const [weight, tensor] of recorded) {
      const wanted = loaded.parameters.view(weight).slice();
      readTensor(tensor, wanted);
      expectClose(weight, outputs[`gradient of ${weight}`]!, wanted, tensor.shape, tolerance);
    }
  });
});

function readGradients(name: string): ReturnType<typeof readHeader> | undefined {
  try {
    return readHeader(join(goldenFolder(name), 'gradients.safetensors'));
  } catch {
    return undefined;
  }
}

it('there is a golden model with gradients of every architecture', () => {
  const recorded = goldenModels.filter((name) => readGradients(name) !== undefined);
  const types = recorded.map(
    (name) => (readGolden(name, 'config.json') as { model_type: string }).model_type,
  );
  expect([...new Set(types)].sort()).toEqual([...modelTypes].sort());
});
