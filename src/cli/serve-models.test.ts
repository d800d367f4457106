import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runHeed } from '../../test/support/run-heed.ts';
import { writeTinyFolder } from '../../test/support/tiny-folder.ts';
import { never, post, yieldToEvents } from '../../test/support/tiny-server.ts';
import { createRng } from '../core/rng.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { attachLora, defaultLora, loadModel, saveAdapter } from '../models/index.ts';
import { createApp, type ServedModel } from '../serve/index.ts';
import { adapterOver, loadServedModels } from './serve-models.ts';

const engine = createOrtEngine({ threads: 1 });
const folder = mkdtempSync(join(tmpdir(), 'heed-serve-models-'));
const outside = mkdtempSync(join(tmpdir(), 'heed-serve-outside-'));
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
  rmSync(outside, { recursive: true });
});

const serve = (mergeAdapters: boolean) =>
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
      const { models } = await serve(merge);
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

describe('adapters of a running server', () => {
  it('come and go by name; one that goes ends its requests first; only those of the folder are read', async () => {
    const { models, openAdapter } = await serve(false);
    const disposed: string[] = [];
    const app = createApp({
      models,
      adapters: {
        folder,
        open: async (name, place) => {
          const model = await openAdapter(name, place);
          return { ...model, passes: 0, dispose: () => model.dispose().then(() => void disposed.push(name)) };
        },
      },
      ...{ maxBodyBytes: 100_000, maxRequests: 8, clock: () => performance.now(), now: () => 0 },
      ...{ newId: () => 'x', log: () => {} },
    });
    // biome-ignore lint/suspicious/noExplicitAny: bodies of JSON answers
    const ask = async (path: string, body: object): Promise<{ status: number; json: any }> => {
      const response = await app.fetch(post(path, body));
      return { status: response.status, json: await response.json() };
    };
    const load = (name: string, path: string) =>
      ask('/v1/load_lora_adapter', { lora_name: name, lora_path: path });
    const names = async (): Promise<string[]> => {
      const response = await app.fetch(new Request('http://localhost/v1/models'));
      return ((await response.json()) as { data: { id: string }[] }).data.map(({ id }) => id);
    };
    const complete = (model: string, more: object = {}) =>
      ask('/v1/completions', {
        model,
        prompt: ids,
        max_tokens: 6,
        temperature: 0,
        ignore_eos: true,
        ...more,
      });

    expect((await complete('kind')).status).toBe(404);
    expect(await load('kind', 'polite')).toMatchObject({
      status: 200,
      json: { id: 'kind', parent: 'plain' },
    });
    expect(await names()).toEqual(['plain', 'polite', 'brief', 'kind']);
    expect((await complete('kind')).json.choices[0].text).toBe(
      (await complete('polite')).json.choices[0].text,
    );

    // A whole adapter, but elsewhere.
    cpSync(adapterFolder('polite'), outside, { recursive: true });
    symlinkSync(outside, join(folder, 'out'));
    for (const [name, path, param] of [
      ['kind', 'brief', 'lora_name'],
      ['plain', 'brief', 'lora_name'],
      ['a b', 'brief', 'lora_name'],
      ['new', join('..', basename(outside)), 'lora_path'],
      ['new', outside, 'lora_path'],
      ['new', 'out', 'lora_path'],
      ['new', 'missing', 'lora_path'],
      ['new', 'base', 'lora_path'],
    ] as const)
      expect(await load(name, path)).toMatchObject({ status: 400, json: { error: { param } } });

    const long = complete('kind', { max_tokens: 50 });
    while (models[0] !== undefined && app.inFlight === 0) await yieldToEvents();
    const unload = (name: string) => ask('/v1/unload_lora_adapter', { lora_name: name });
    expect((await unload('kind')).status).toBe(200);
    expect(disposed).toEqual([]);
    expect((await complete('kind')).status).toBe(404);
    expect((await load('kind', 'brief')).status).toBe(200);
    expect((await long).json.usage.completion_tokens).toBe(50);
    while (disposed.length === 0) await yieldToEvents();
    expect(disposed).toEqual(['kind']);
    expect((await complete('kind')).json.choices[0].text).toBe(
      (await complete('brief')).json.choices[0].text,
    );
    // What was there at the start stays.
    expect(await unload('polite')).toMatchObject({ status: 400, json: { error: { param: 'lora_name' } } });
    await app.close(never());
    expect(disposed).toEqual(['kind', 'kind']);
  });

  it('need a folder and a key', async () => {
    const { code, stderr } = await runHeed(['serve', '--model', base, '--adapter-folder', folder]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/--adapter-folder: expected an API key/)]);
  });
});
