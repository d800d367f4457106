/** What a policy and a critic learn from: completions with numbers per token from the time of rollout. */
import type { HostArray } from '../../core/host-tensor.ts';
import { abs, add, cast, mul, square, sub } from '../../graph/ops/elementwise.ts';
import { sum } from '../../graph/ops/reduce.ts';
import type { Tensor, TensorType } from '../../graph/tensor.ts';
import { SCORE_WEIGHT } from '../../models/score-model.ts';
import { valueHead } from '../../nn/heads.ts';
import {
  columnsOf,
  countLabels,
  type TokenExample,
  type TokenInputs,
  tokenArrays,
  tokenTypes,
} from '../batch.ts';
import { batchLogProbs } from '../logprob.ts';
import { type Aggregation, aggregateSum } from '../loss/aggregate.ts';
import { klLoss } from '../loss/kl-loss.ts';
import {
  type ClippedLosses,
  type PolicyClipInput,
  probabilityRatio,
  type RatioLevel,
  ratioOf,
} from '../loss/policy-clip.ts';
import type { ValueClipInput } from '../loss/value-clip.ts';
import type { TrainStep } from './train-step.ts';

/** A prompt with its completion. The four lists have a number per completion token, constants of the update. */
export interface TokenUpdate extends TokenExample {
  /** Index in `ids` of the completion's first token. */
  readonly start: number;
  readonly oldLogProbs: ArrayLike<number>;
  readonly referenceLogProbs: ArrayLike<number>;
  readonly advantages: ArrayLike<number>;
  readonly oldValues: ArrayLike<number>;
  readonly returns: ArrayLike<number>;
  /** Weight of the entropy, where it changes from batch to batch; the same for all of a batch. */
  readonly entropyCoefficient?: number;
}

const ENTROPY = 'entropyCoefficient';

type PerToken = 'oldLogProbs' | 'referenceLogProbs' | 'advantages' | 'oldValues' | 'returns';

/** The slots that both learners share: how updates become arrays. */
function tokenUpdateBatch(keys: readonly PerToken[], aggregation: Aggregation) {
  return {
    columns: ({ ids }: TokenUpdate) => columnsOf(ids.length),
    weight: (update: TokenUpdate) => (aggregation === 'token-mean' ? countLabels(update) : 1),
    tokens: ({ ids }: TokenUpdate) => ids.length,
    types: (rows: number, columns: number): Record<string, TensorType> => ({
      ...tokenTypes(rows, columns, false),
      ...Object.fromEntries(keys.map((key) => [key, { dtype: 'float32' as const, shape: [rows, columns] }])),
    }),
    arrays(updates: readonly TokenUpdate[], rows: number, columns: number): Record<string, HostArray> {
      const perToken = keys.map((key) => {
        const data = new Float32Array(rows * columns);
        // Token `start + j` is the label of column `start + j − 1`.
        updates.forEach((update, row) => {
          data.set(Float32Array.from(update[key]), row * columns + update.start - 1);
        });
        return [key, data] as const;
      });
      return { ...tokenArrays(updates, rows, columns, false), ...Object.fromEntries(perToken) };
    },
  };
}

export interface PolicyUpdateOptions {
  readonly loss: (input: PolicyClipInput) => ClippedLosses;
  readonly aggregation: Aggregation;
  /** Multiplies the mean token entropy, which is added to what is maximised; 0 switches it off; or each batch brings its own. */
  readonly entropyCoefficient: number | 'per-update';
  /** Weight of the KL to the reference per token (`klLoss`), which is added to the loss; 0 switches it off. */
  readonly klCoefficient: number;
  /** Whose ratio to the policy at rollout multiplies that KL, with its gradient; none when left out. */
  readonly klRatio?: RatioLevel | undefined;
  /** Temperature of sampling: log-probabilities are those of the distribution that was sampled. */
  readonly temperature: number;
}

/** The learner of the policy. */
export function policyUpdate(options: PolicyUpdateOptions): TrainStep<TokenUpdate> {
  const { loss, aggregation, entropyCoefficient, klCoefficient, klRatio, temperature } = options;
  const reference: readonly PerToken[] = klCoefficient === 0 ? [] : ['referenceLogProbs'];
  const batches = tokenUpdateBatch(['oldLogProbs', 'advantages', ...reference], aggregation);
  const controlled = entropyCoefficient === 'per-update';
  return {
    ...batches,
    types: (rows, columns) => ({
      ...batches.types(rows, columns),
      ...(controlled && { [ENTROPY]: { dtype: 'float32' as const, shape: [] } }),
    }),
    arrays: (updates, rows, columns) => ({
      ...batches.arrays(updates, rows, columns),
      ...(controlled && { [ENTROPY]: Float32Array.of(updates[0]?.entropyCoefficient ?? 0) }),
    }),
    trace({ model, weights, rematerialize }, inputs) {
      const batch = inputs as unknown as TokenInputs;
      const { mask } = batch;
      const { oldLogProbs, advantages, referenceLogProbs } = inputs as unknown as Record<PerToken, Tensor>;
      const { logProbs, entropy } = batchLogProbs(model, weights, batch, { rematerialize, temperature });
      const { losses, clipped } = loss({ logProbs, oldLogProbs, advantages, mask });
      const distance = (): Tensor => {
        const kl = klLoss(logProbs, referenceLogProbs);
        return klRatio === undefined ? kl : mul(kl, ratioOf({ logProbs, oldLogProbs, mask }, klRatio));
      };
      const held = klCoefficient === 0 ? losses : add(losses, mul(distance(), klCoefficient));
      const weight = controlled ? inputs[ENTROPY]! : entropyCoefficient;
      const total = weight === 0 ? held : sub(held, mul(entropy, weight));
      const change = sub(logProbs, oldLogProbs);
      const overTokens = (x: Tensor): Tensor => sum(mul(x, mask));
      return {
        loss: aggregateSum(total, mask, aggregation),
        sums: {
          tokens: sum(mask),
          entropy: overTokens(entropy),
          change: overTokens(mul(square(change), 0.5)),
          distance: overTokens(abs(change)),
          ratio: overTokens(probabilityRatio(logProbs, oldLogProbs)),
          clipped: overTokens(cast(clipped, 'float32')),
        },
      };
    },
    summarize: ({ tokens = 0, entropy = 0, change = 0, distance = 0, ratio = 0, clipped = 0 }) => {
      const per = Math.max(tokens, 1);
      return {
        'policy/entropy_avg': entropy / per,
        'policy/approxkl_avg': change / per,
        'policy/clipfrac_avg': clipped / per,
        'val/ratio': ratio / per,
        'sampling/logp_difference': distance / per,
      };
    },
  };
}

export interface CriticUpdateOptions {
  readonly loss: (input: ValueClipInput) => ClippedLosses;
  readonly aggregation: Aggregation;
}

/** The learner of the critic: a score model read at every column. */
export function criticUpdate({ loss, aggregation }: CriticUpdateOptions): TrainStep<TokenUpdate> {
  return {
    ...tokenUpdateBatch(['oldValues', 'returns'], aggregation),
    trace({ model, weights, rematerialize }, inputs) {
      const { ids, positions, mask } = inputs as unknown as TokenInputs;
      const { oldValues, returns } = inputs as unknown as Record<PerToken, Tensor>;
      const { hidden } = model.forward(weights, { ids, positions, rematerialize });
      const values = valueHead(hidden, weights[SCORE_WEIGHT]!);
      const { losses, clipped } = loss({ values, oldValues, returns });
      return {
        loss: aggregateSum(losses, mask, aggregation),
        sums: { tokens: sum(mask), clipped: sum(mul(cast(clipped, 'float32'), mask)) },
      };
    },
    summarize: ({ tokens = 0, clipped = 0 }) => ({ 'val/clipfrac_avg': clipped / Math.max(tokens, 1) }),
  };
}
