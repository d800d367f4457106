import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyFolder } from '../../test/support/tiny-folder.ts';
import { createRng } from '../core/rng.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { attachLora, defaultLora, loadModel, saveAdapter } from '../models/index.ts';
import type { ServedModel } from '../serve/index.ts';
import { adapterOver, loadServedModels } from './serve-models.ts';

const engine = createOrtEngine({ threads: 1 });
const folder = mkdtempSync(join(tmpdir(), 'heed-serve-models-'));
const base = join(folder, 'base');
const ids = [1, 70, 80, 90, 71, 72];
const adapterFolder = (name: string): string => join(folder, name);

beforeAll(async () => {
  writeTinyFolder(base);
  for (const [index, name] of ['polite', 'brief'].entries()) {
    const adapted = attachLora(await loadModel(base), { ...defaultLora, r: 2 }, { rng: createRng(index) });
    // B of an adapter that was not trained is 0.
    const rng = createRng(9).split(index);
    for (const { name: matrix } of adapted.parameters.specs)
      adapted.parameters.view(matrix).forEach((_, i, view) => {
        view[i] = rng.uniform(i) - 0.5;
      });
    saveAdapter(adapterFolder(name), { ...adapted, base });
  }
});
afterAll(() => {
  engine.dispose();
  rmSync(folder, { recursive: true });
});

const serve = (mergeAdapters: boolean): Promise<ServedModel[]> =>
  loadServedModels({
    ...{ engine, mergeAdapters, models: [`plain=${base}`], quantize: 'none', speculate: 0, prepack: 'auto' },
    adapters: ['polite', 'brief'].map((name) => `${name}=${adapterFolder(name)}`),
    ...{ slots: 2, queue: 4, maxTokens: 64, rng: createRng(0), clock: () => performance.now() },
    pause: () => new Promise((resolve) => setImmediate(resolve)),
  });
const logProbs = async (model: ServedModel): Promise<number[]> =>
  (await model.scoreTokens(ids, 0)).map(({ logProb }) => logProb);

describe('adapters', () => {
  it('are served under their names over the first model, each with its own answers, merged or apart', async () => {
    const all: number[][][] = [];
    const made: (readonly number[])[][] = [];
    for (const merge of [true, false]) {
      const models = await serve(merge);
      expect(models.map(({ id, parent }) => [id, parent])).toEqual([
        ['plain', undefined],
        ['polite', 'plain'],
        ['brief', 'plain'],
      ]);
      all.push(await Promise.all(models.map(logProbs)));
      const options = {
        ...{ temperature: 0, topK: 0, topP: 1, maxNewTokens: 8 },
        stopIds: new Set<number>(),
      };
      const requests = models.map(({ session }) => session!.add(ids, { ...options, rng: createRng(1) }));
      made.push(await Promise.all(requests.map(async ({ completions }) => (await completions)[0]!.ids)));
      await Promise.all(models.map((model) => model.dispose()));
    }
    const [merged, apart] = all as [number[][], number[][]];
    for (const [i, list] of merged.entries())
      for (const [t, p] of list.entries()) expect(apart[i]![t]).toBeCloseTo(p, 4);
    const distance = (x: number[], y: number[]): number => Math.max(...x.map((p, t) => Math.abs(p - y[t]!)));
    for (const [x, y] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const)
      expect(distance(merged[x]!, merged[y]!)).toBeGreaterThan(0.05);
    expect(made[1]).toEqual(made[0]);
  });

  it('kept apart lie over the weights of the base, and merged do not touch them', async () => {
    const loaded = await loadModel(base);
    const shared = Object.entries(loaded.parameters.arrays());
    const before = shared.map(([, array]) => Array.from(array as Float32Array));
    const apart = adapterOver(loaded, adapterFolder('polite'), false).parameters.arrays();
    for (const [name, array] of shared) {
      expect(apart[name]!.buffer).toBe(array.buffer);
      expect(apart[name]!.byteOffset).toBe(array.byteOffset);
    }
    const merged = adapterOver(loaded, adapterFolder('polite'), true).parameters.arrays();
    for (const [name, array] of shared) expect(merged[name]!.buffer).not.toBe(array.buffer);
    expect(shared.map(([, array]) => Array.from(array as Float32Array))).toEqual(before);
  });
});
