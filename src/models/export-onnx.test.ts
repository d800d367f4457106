/**
 * Exported models, run by ONNX Runtime as anyone else would: greedy tokens through the exported cache are those of our
 * generator, also for rows padded on the left, and a longer piece after the cache gives the logits of the whole.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectClose, sharedOrt } from '../../test/support/engines-agree.ts';
import { goldenFolder, goldenModels, type Recorded, readGolden } from '../../test/support/golden-model.ts';
import { createRng } from '../core/rng.ts';
import { createGenerator } from '../generate/generate.ts';
import { readModel } from './checkpoint.ts';
import { writeOnnxModel } from './export-onnx.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'heed-onnx-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const long = (rows: readonly (readonly number[])[]): ort.Tensor =>
  new ort.Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0]!.length]);

interface Exported {
  readonly session: ort.InferenceSession;
  readonly layers: number;
  readonly empty: (rows: number) => Record<string, ort.Tensor>;
}

async function exportAndOpen(name: string, inlineBytes?: number): Promise<Exported> {
  const { model, config, parameters } = readModel(goldenFolder(name));
  writeOnnxModel(folder, {
    model,
    config,
    parameters,
    ...(inlineBytes === undefined ? {} : { inlineBytes }),
  });
  const session = await ort.InferenceSession.create(join(folder, 'onnx', 'model.onnx'));
  const layers = model.layerCount;
  const empty = (rows: number): Record<string, ort.Tensor> =>
    Object.fromEntries(
      Array.from({ length: layers }, (_, layer) =>
        ['key', 'value'].map((part) => [
          `past_key_values.${layer}.${part}`,
          new ort.Tensor('float32', new Float32Array(0), [rows, model.keyValueHeads, 0, model.headSize]),
        ]),
      ).flat() as [string, ort.Tensor][],
    );
  return { session, layers, empty };
}

/** The cache of a call as the past of the next. */
function pastOf(outputs: ort.InferenceSession.OnnxValueMapType): Record<string, ort.Tensor> {
  return Object.fromEntries(
    Object.entries(outputs)
      .filter(([name]) => name.startsWith('present.'))
      .map(([name, tensor]) => [name.replace('present', 'past_key_values'), tensor as ort.Tensor]),
  );
}

/** Greedy continuation of rows padded on the left, as transformers.js does it. */
async function greedy(
  { session, empty }: Exported,
  prompts: readonly (readonly number[])[],
  count: number,
): Promise<number[][]> {
  const width = Math.max(...prompts.map(({ length }) => length));
  const mask = prompts.map((prompt) => [...Array(width - prompt.length).fill(0), ...prompt.map(() => 1)]);
  let ids = prompts.map((prompt) => [...Array(width - prompt.length).fill(0), ...prompt]);
  let positions = mask.map((row) =>
    row.map((_, at) => Math.max(0, row.slice(0, at + 1).reduce((a, b) => a + b) - 1)),
  );
  let past = empty(prompts.length);
  const made: number[][] = prompts.map(() => []);
  for (let step = 0; step < count; step++) {
    const outputs = await session.run({
      ...past,
      input_ids: long(ids),
      attention_mask: long(mask),
      position_ids: long(positions),
    });
    const logits = outputs.logits!;
    const [B, T, V] = logits.dims as [number, number, number];
    const data = logits.data as Float32Array;
    for (let row = 0; row < B; row++) {
      const last = data.subarray((row * T + T - 1) * V, (row * T + T) * V);
      made[row]!.push(last.indexOf(Math.max(...last)));
      mask[row]!.push(1);
    }
    ids = made.map((row) => [row.at(-1)!]);
    positions = positions.map((row) => [row.at(-1)! + 1]);
    past = pastOf(outputs);
  }
  return made;
}

const exportable = goldenModels.filter(
  (name) => !JSON.stringify(readGolden(name, 'config.json')).includes('"dynamic"'),
);

describe.each(exportable)('%s', (name) => {
  const { ids, logits } = readGolden(name, 'recorded.json') as Recorded;
  const shape = [ids.length, logits[0]!.length];

  it('gives the logits of transformers, whole and in two pieces', async () => {
    const { session, empty } = await exportAndOpen(name);
    const places = [...ids.keys()];
    const whole = await session.run({
      ...empty(1),
      input_ids: long([ids]),
      attention_mask: long([ids.map(() => 1)]),
      position_ids: long([places]),
    });
    expectClose('logits', whole.logits!.data as Float32Array, logits.flat(), shape, 1e-5);
    const first = await session.run({
      ...empty(1),
      input_ids: long([ids.slice(0, 5)]),
      attention_mask: long([ids.slice(0, 5).map(() => 1)]),
      position_ids: long([places.slice(0, 5)]),
    });
    const second = await session.run({
      ...pastOf(first),
      input_ids: long([ids.slice(5)]),
      attention_mask: long([ids.map(() => 1)]),
      position_ids: long([places.slice(5)]),
    });
    const joined = [...(first.logits!.data as Float32Array), ...(second.logits!.data as Float32Array)];
    expectClose('logits', joined, logits.flat(), shape, 1e-5);
    expect(second['present.0.key']!.dims[2]).toBe(ids.length);
    await session.release();
  });

  it('generates the greedy tokens of our generator, padded and alone', async () => {
    const exported = await exportAndOpen(name);
    const { model, parameters } = readModel(goldenFolder(name));
    const count = Math.min(16, model.maxPositions - 7);
    const prompts = [ids.slice(0, 7), ids.slice(0, 2), ids.slice(4, 7)].map((prompt) => [...prompt]);
    const generator = createGenerator({ engine: sharedOrt(), model, parameters });
    const wanted = await generator.generate(prompts, {
      ...{
        temperature: 0,
        topK: 0,
        topP: 1,
        maxNewTokens: count,
        stopIds: new Set<number>(),
        rng: createRng(0),
      },
    });
    generator.dispose();
    expect(await greedy(exported, prompts, count)).toEqual(wanted.map((completion) => completion.ids));
    expect(await greedy(exported, [prompts[1]!], count)).toEqual([wanted[1]!.ids]);
    await exported.session.release();
  });
});

describe('writeOnnxModel', () => {
  it('writes large weights to a file beside the model', async () => {
    const { ids, logits } = readGolden('llama-plain', 'recorded.json') as Recorded;
    const { session, empty } = await exportAndOpen('llama-plain', 1000);
    expect(statSync(join(folder, 'onnx', 'model.onnx_data')).size).toBeGreaterThan(10_000);
    expect(statSync(join(folder, 'onnx', 'model.onnx')).size).toBeLessThan(40_000);
    const { logits: got } = await session.run({
      ...empty(1),
      input_ids: long([ids]),
      attention_mask: long([ids.map(() => 1)]),
      position_ids: long([[...ids.keys()]]),
    });
    expectClose('logits', got!.data as Float32Array, logits.flat(), [ids.length, logits[0]!.length], 1e-5);
    await session.release();
  });

  it('names the open sizes, and tells how the files are to be read', () => {
    const { model, config, parameters } = readModel(goldenFolder('llama-plain'));
    const progress: number[] = [];
    const keys = writeOnnxModel(folder, {
      model,
      config,
      parameters,
      onProgress: (done) => progress.push(done),
    });
    expect(keys).toEqual({ 'transformers.js_config': { dtype: 'fp32' } });
    const text = readFileSync(join(folder, 'onnx', 'model.onnx')).toString('latin1');
    for (const name of ['batch_size', 'sequence_length', 'past_sequence_length', 'total_sequence_length'])
      expect(text).toContain(name);
    expect(progress.at(-1)).toBeGreaterThan(4 * parameters.count - 1);
    expect(existsSync(join(folder, 'onnx', 'model.onnx_data'))).toBe(false);
  });
});
