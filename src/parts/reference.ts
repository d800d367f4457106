/** Log-probabilities of fixed sequences under a frozen model: computed once, kept in a file named by what they depend on. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NumericError } from '../core/errors.ts';
import type { Engine } from '../engine/engine.ts';
import { createProgramCache } from '../engine/program-cache.ts';
import { mul } from '../graph/ops/elementwise.ts';
import { sum } from '../graph/ops/reduce.ts';
import { trace } from '../graph/program.ts';
import { type CausalModel, weightTypes } from '../models/causal-model.ts';
import type { Parameters } from '../nn/parameters.ts';
import { columnsOf, type TokenExample, type TokenInputs, tokenArrays, tokenTypes } from './batch.ts';
import { microBatches } from './batches.ts';
import { batchLogProbs } from './logprob.ts';

export interface ScoreOptions {
  readonly engine: Engine;
  readonly model: CausalModel;
  readonly parameters: Parameters;
  /** Sequences per forward pass. */
  readonly batchSize: number;
  /** Columns are padded to a multiple of this. */
  readonly bucket: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Σ over learned tokens of log p(token | those before it), one per sequence; masks between 0 and 1 weigh tokens.
 *
 * @returns nats, [examples.length]
 * @throws NumericError naming the first sequence whose log-probability is not finite
 */
export async function sequenceLogProbs(
  examples: readonly TokenExample[],
  options: ScoreOptions,
): Promise<Float64Array> {
  const { engine, model, parameters } = options;
  const cache = createProgramCache(engine, { limit: 4 });
  const scores = new Float64Array(examples.length);
  const weights = parameters.arrays();
  const indexed = examples.map((example, index) => ({ example, index }));
  let done = 0;
  try {
    for (const { examples: part, rows, columns } of microBatches(
      indexed,
      ({ example }) => columnsOf(example.ids.length),
      options.batchSize,
      options.bucket,
    )) {
      const executable = await cache.get(`score ${rows}×${columns}`, () =>
        scoreProgram(model, rows, columns),
      );
      const arrays = tokenArrays(
        part.map(({ example }) => example),
        rows,
        columns,
        false,
      );
      const { logProbs } = await executable.run({ ...weights, ...arrays });
      part.forEach(({ index }, row) => {
        const score = Number(logProbs!.data[row]);
        if (!Number.isFinite(score)) {
          throw new NumericError({
            where: `reference log-probability of sequence ${index + 1}`,
            expected: 'a finite number',
            received: String(score),
            fix: 'Check that the reference model loads with finite weights',
          });
        }
        scores[index] = score;
      });
      done += part.length;
      options.onProgress?.(done, examples.length);
    }
  } finally {
    cache.dispose();
  }
  return scores;
}

function scoreProgram(model: CausalModel, rows: number, columns: number) {
  return trace({ ...weightTypes(model), ...tokenTypes(rows, columns, false) }, (inputs) => {
    const batch = inputs as unknown as TokenInputs;
    const { logProbs } = batchLogProbs(model, inputs, batch);
    return { logProbs: sum(mul(logProbs, batch.mask), { axes: 1 }) };
  });
}

/** SHA-256 over the weights and every id and mask: equal hashes mean equal log-probabilities. */
export function scoreKey(examples: readonly TokenExample[], config: object, parameters: Parameters): string {
  const hash = createHash('sha256');
  hash.update('sequence-log-probs 2\n').update(JSON.stringify(config));
  const vectors = parameters.frozenBytes === 0 ? [parameters.flat] : Object.values(parameters.arrays());
  for (const { buffer, byteOffset, byteLength } of vectors)
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  for (const { ids, mask } of examples) {
    hash.update(Uint32Array.of(ids.length)).update(Int32Array.from(ids)).update(Float32Array.from(mask));
  }
  return hash.digest('hex');
}

/**
 * `sequenceLogProbs` through a folder of results: computed when no file of the key is there.
 *
 * @returns the scores, and whether they were read
 */
export async function cachedSequenceLogProbs(
  examples: readonly TokenExample[],
  options: ScoreOptions & { readonly folder: string; readonly config: object },
): Promise<{ scores: Float64Array; cached: boolean }> {
  const key = scoreKey(examples, options.config, options.parameters);
  const file = join(options.folder, `reference-${key.slice(0, 32)}.f64`);
  if (existsSync(file)) {
    const bytes = readFileSync(file);
    if (bytes.length === examples.length * 8) {
      return {
        scores: new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)),
        cached: true,
      };
    }
  }
  const scores = await sequenceLogProbs(examples, options);
  mkdirSync(options.folder, { recursive: true });
  const temporary = `${file}.${process.pid}.partial`;
  writeFileSync(temporary, new Uint8Array(scores.buffer));
  renameSync(temporary, file);
  return { scores, cached: false };
}
