/**
 * Exported models that give numbers for labels, run by ONNX Runtime as anyone else would: encoders give the logits that
 * transformers gave, reward models its scores, every decoder with a score head ours; also for rows padded on either side.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectClose, sharedOrt } from '../../test/support/engines-agree.ts';
import { goldenEncoders, type RecordedScores } from '../../test/support/golden-encoder.ts';
import { goldenFolder, goldenModels, type Recorded, readGolden } from '../../test/support/golden-model.ts';
import { createRng } from '../core/rng.ts';
import { scoreForward } from '../parts/forward.ts';
import { readModel } from './checkpoint.ts';
import { readClassifier } from './encoder-checkpoint.ts';
import { type OnnxExportOptions, writeOnnxModel } from './export-onnx.ts';
import { SCORE_WEIGHT } from './score-model.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'heed-labels-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

type Rows = readonly (readonly number[])[];
const long = (rows: Rows): ort.Tensor =>
  new ort.Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0]!.length]);

async function open(loaded: OnnxExportOptions): Promise<ort.InferenceSession> {
  const keys = writeOnnxModel(folder, loaded);
  expect(keys).toEqual({ 'transformers.js_config': { dtype: 'fp32' } });
  return ort.InferenceSession.create(join(folder, 'onnx', 'model.onnx'));
}

/** Rows filled up to one length, on the right or the left, with what counts. */
function padded(sequences: Rows, side: 'left' | 'right'): Record<string, ort.Tensor> {
  const width = Math.max(...sequences.map(({ length }) => length)) + 1;
  const fill = (row: readonly number[], ones: boolean): number[] => {
    const zeros = Array<number>(width - row.length).fill(0);
    const body = ones ? row.map(() => 1) : row;
    return side === 'left' ? [...zeros, ...body] : [...body, ...zeros];
  };
  return {
    input_ids: long(sequences.map((row) => fill(row, false))),
    attention_mask: long(sequences.map((row) => fill(row, true))),
  };
}

describe.each(goldenEncoders)('%s', (name) => {
  it('gives the logits of transformers, padded and alone', async () => {
    const { ids, counted, types, scores } = readGolden(name, 'recorded.json') as RecordedScores;
    const session = await open(readClassifier(goldenFolder(name)));
    expect(session.inputNames).toEqual([
      'input_ids',
      'attention_mask',
      ...(types === undefined ? [] : ['token_type_ids']),
    ]);
    const run = async (from: number, to: number, columns: number): Promise<ArrayLike<number>> => {
      const part = (rows: Rows): ort.Tensor => long(rows.slice(from, to).map((row) => row.slice(0, columns)));
      const { logits } = await session.run({
        input_ids: part(ids),
        attention_mask: part(counted),
        ...(types === undefined ? {} : { token_type_ids: part(types) }),
      });
      return logits!.data as Float32Array;
    };
    const A = scores[0]!.length;
    expectClose('logits', await run(0, 2, ids[0]!.length), scores.flat(), [2, A], 1e-5);
    const alone = counted[1]!.lastIndexOf(1) + 1;
    expect(alone).toBeLessThan(ids[1]!.length);
    expectClose('logits', await run(1, 2, alone), scores[1]!, [1, A], 1e-5);
    await session.release();
  });
});

describe('a reward model', () => {
  it('gives the scores of transformers', async () => {
    const { sequences, scores } = readGolden('llama-score', 'recorded.json') as {
      sequences: Rows;
      scores: number[];
    };
    const session = await open(readModel(goldenFolder('llama-score')));
    for (const side of ['left', 'right'] as const) {
      const { logits } = await session.run(padded(sequences, side));
      expect(logits!.dims).toEqual([sequences.length, 1]);
      expectClose(side, logits!.data as Float32Array, scores, [scores.length], 1e-5);
    }
    await session.release();
  });
});

/** One case of each type of decoder. */
const oneOfEach = new Map(
  goldenModels.map((name) => [(readGolden(name, 'config.json') as { model_type: string }).model_type, name]),
);

it.each([...oneOfEach.values()])('%s with a score head gives our scores', async (name) => {
  const { ids } = readGolden(name, 'recorded.json') as Recorded;
  const loaded = readModel(goldenFolder(name), { heads: { score: 1 } });
  createRng(3).fillNormal(loaded.parameters.view(SCORE_WEIGHT), 0.5);
  const sequences = [ids.slice(0, 9), ids.slice(3, 7), ids.slice(2, 3)].map((row) => [...row]);
  const forward = scoreForward({ engine: sharedOrt(), ...loaded, batchSize: 1, bucket: 1 });
  const wanted = (await forward.run(sequences)).map((scores) => scores[0]!);
  forward.dispose();
  expect(new Set(wanted).size).toBe(3);
  const session = await open(loaded);
  for (const side of ['left', 'right'] as const) {
    const { logits } = await session.run(padded(sequences, side));
    expectClose(side, logits!.data as Float32Array, wanted, [3], 1e-5);
  }
  await session.release();
});

it('says what to do with a model that cannot be exported', () => {
  const dynamic = readModel(goldenFolder('llama-rope-dynamic'));
  expect(() => writeOnnxModel(folder, dynamic)).toThrow(/rope scaling "dynamic".*Set rope_scaling to null/s);
  const packed = readModel(goldenFolder('llama-plain'), { quantize: { bits: 8 } });
  expect(() => writeOnnxModel(folder, packed)).toThrow(/weights of 4 or 8 bits.*without quantizing it/s);
});
