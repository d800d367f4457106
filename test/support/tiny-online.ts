/** Online runs of a tiny policy on a task that can be solved: a number per completion that says how well. */
import type { Engine } from '../../src/engine/engine.ts';
import { functionScorer, type ScoreFunction } from '../../src/parts/scorer/scorer.ts';
import type { OnlineStep } from '../../src/parts/step/online-step.ts';
import type { OnlineConfig } from '../../src/parts/trainer/online-config.ts';
import { runOnline } from '../../src/parts/trainer/run-online.ts';
import type { MetricRecord, TrainerState } from '../../src/parts/trainer/trainer.ts';
import { tinyModel } from './tiny-model.ts';

const EOS = 5;
const GOOD = 10;
const prompts = Array.from({ length: 12 }, (_, i) => ({ ids: [1, 12 + i], text: `prompt ${i}` }));

/** Share of the completion that is token 10: a policy of random weights gets about 1/24. */
export const shareOfGood: ScoreFunction = ({ completionIds }) =>
  Array.from(completionIds).filter((id) => id === GOOD).length / 8;

/** What a run needs of its configuration beside the method's own. */
export const tinySettings = {
  ...{ model: '', data: '', rewardModel: '', seed: 0 },
  ...{ iterations: 30, batchSize: 32, maxNewTokens: 8, schedule: 'constant', learningRate: 0.01 },
} as const;

/** What a run saves. */
export interface SavedRun {
  readonly state: TrainerState;
  readonly weights: Float32Array;
}

export interface TinyRunOptions {
  readonly engine: Engine;
  readonly config: OnlineConfig;
  readonly step: OnlineStep;
  readonly score?: ScoreFunction;
  readonly stopAfter?: number;
  readonly resume?: SavedRun;
  readonly onSave?: (saved: SavedRun) => void;
}

export async function runTiny({ engine, config, step, score, stopAfter, resume, onSave }: TinyRunOptions) {
  const policy = tinyModel(4);
  const reference = tinyModel(4);
  if (resume !== undefined) policy.parameters.flat.set(resume.weights);
  const records: MetricRecord[] = [];
  let saved: SavedRun | undefined;
  const result = await runOnline({
    ...{ engine, config, step, policy, reference, prompts, stopIds: new Set([EOS]) },
    scorer: functionScorer('share of token 10', score ?? shareOfGood),
    decode: (ids) => ids.join(' '),
    hooks: {
      log: (record) => void records.push(record),
      interrupted: () => records.length === stopAfter,
      async save(state) {
        const moments = Object.fromEntries(
          Object.entries(state.optimizer.moments).map(([name, data]) => [name, data.slice()]),
        );
        saved = {
          weights: policy.parameters.flat.slice(),
          state: { ...state, optimizer: { ...state.optimizer, moments } },
        };
        onSave?.(saved);
      },
    },
    ...(resume === undefined ? {} : { resume: resume.state }),
  });
  return { result, records, weights: policy.parameters.flat, saved };
}

/** Mean score of the last three iterations. */
export const lastScores = (records: readonly MetricRecord[]): number =>
  records.slice(-3).reduce((total, record) => total + record['objective/scores']! / 3, 0);
