/** Rollouts with scores → what the policy and the critic learn from them: the skeleton of PPO and its relatives. */
import type { HostTensor } from '../../core/host-tensor.ts';
import { mean, variance } from '../../core/statistics.ts';
import type { AdvantageEstimator } from '../advantage/advantage.ts';
import type { Controller, Controls } from '../controller/controller.ts';
import { klControl } from '../controller/kl.ts';
import type { Aggregation } from '../loss/aggregate.ts';
import type { KlRewardInput, KlRewards } from '../reward/kl-reward.ts';
import type { RolloutOutcome } from '../rollout/record.ts';
import type { Trace } from '../rollout/rollout.ts';
import type { OnlineStep, Resampling } from './online-step.ts';
import {
  type CriticUpdateOptions,
  criticUpdate,
  type PolicyUpdateOptions,
  policyUpdate,
  type TokenUpdate,
} from './token-update.ts';

export interface PolicyGradientOptions {
  readonly policyLoss: PolicyUpdateOptions['loss'];
  /** Left out, there is no critic: values are 0. */
  readonly valueLoss?: CriticUpdateOptions['loss'];
  /** Weight of the KL to the reference in the loss; 0 when left out. */
  readonly klLossCoefficient?: number;
  /** Whose ratio multiplies that KL; none when left out. */
  readonly klLossRatio?: PolicyUpdateOptions['klRatio'];
  readonly aggregation: Aggregation;
  readonly entropyCoefficient: number;
  readonly temperature: number;
  /** Longest completion, tokens: what a length cost is relative to. */
  readonly maxNewTokens: number;
  /** Of the weight of the KL. */
  readonly controller: () => Controller;
  /** Further ones: of entropy, length, learning rate. Default: none. */
  readonly targets?: () => Omit<Controls, 'kl'>;
  /** Whether advantages need the score of the likeliest completion of each prompt. Default: no. */
  readonly greedy?: boolean;
  readonly resampling?: Resampling | undefined;
  /** Shape: scores → training scores, in order. Default: as they are. */
  readonly shape?: (scores: readonly number[], traces: readonly Trace[]) => readonly number[];
  /** Select: which completions to learn from, after advantages are known. Default: all. */
  readonly select?: (traces: readonly Trace[], advantages: HostTensor<Float64Array>) => readonly boolean[];
  /** Training scores → token rewards. */
  readonly reward: (input: KlRewardInput, klCoefficient: number) => KlRewards;
  /** Estimate: token rewards and values → advantages and returns. */
  readonly advantage: AdvantageEstimator;
  /** Last change to the token rewards. Default: none. */
  readonly normalizeRewards?: Normalizer | undefined;
  /** Last change to the advantages; the critic's returns do not see it. Default: none. */
  readonly normalizeAdvantages?: Normalizer | undefined;
}

type Normalizer = (x: HostTensor<Float64Array>, mask: HostTensor<Uint8Array>) => HostTensor<Float64Array>;

/** Learns from completions with numbers per token. */
export type PolicyGradientStep = OnlineStep<TokenUpdate>;

/** A policy-gradient method from its slots: Shape → reward → Estimate → Loss. Everything before the losses is float64. */
export function policyGradientStep(options: PolicyGradientOptions): PolicyGradientStep {
  const { policyLoss, valueLoss, aggregation, entropyCoefficient, temperature, maxNewTokens } = options;
  const { klLossCoefficient = 0, resampling, greedy = false } = options;
  const targets = options.targets ?? ((): Omit<Controls, 'kl'> => ({}));
  const controlsEntropy = targets().entropy !== undefined;
  const unchanged: Normalizer = (x) => x;
  const { normalizeRewards = unchanged, normalizeAdvantages = unchanged } = options;
  return {
    policy: policyUpdate({
      loss: policyLoss,
      entropyCoefficient: controlsEntropy ? 'per-update' : entropyCoefficient,
      ...{ aggregation, temperature, klCoefficient: klLossCoefficient, klRatio: options.klLossRatio },
    }),
    critic: valueLoss && criticUpdate({ loss: valueLoss, aggregation }),
    ...{ temperature, greedy, resampling },
    controls: () => ({ kl: klControl(options.controller()), ...targets() }),
    estimate({ traces, scores, logProbs, referenceLogProbs, values, baselines }, controls) {
      const { kl: klCoefficient, length: lengthCost = 0 } = controls;
      const shape = options.shape ?? ((scores) => scores);
      const cost = ({ ids }: Trace): number =>
        lengthCost === 0 ? 0 : (lengthCost * ids.length) / maxNewTokens;
      const shaped = shape(scores, traces).map((score, index) => score - cost(traces[index]!));
      const { rewards, mask, kl, nonScoreReward } = options.reward(
        { scores: shaped, logProbs, referenceLogProbs },
        klCoefficient,
      );
      const [, C] = rewards.shape as [number, number];
      const padded = new Float64Array(rewards.data.length);
      values.forEach((row, index) => {
        padded.set(Float64Array.from(row), index * C);
      });
      const { advantages, returns, metrics } = options.advantage({
        rewards: normalizeRewards(rewards, mask),
        values: { ...rewards, data: padded },
        mask,
        groups: traces.map(({ group }) => group),
        ...(baselines && { baselines }),
      });
      const normalized = normalizeAdvantages(advantages, mask);
      const row = (x: HostTensor<Float64Array>, index: number): Float64Array =>
        x.data.subarray(index * C, index * C + traces[index]!.ids.length);
      const all = traces.map(({ prompt, ids }, index): TokenUpdate => {
        const start = prompt.ids.length;
        return {
          ids: [...Array.from(prompt.ids), ...ids],
          mask: [...new Array<number>(start).fill(0), ...new Array<number>(ids.length).fill(1)],
          start,
          oldLogProbs: logProbs[index]!,
          referenceLogProbs: referenceLogProbs[index]!,
          advantages: row(normalized, index),
          oldValues: values[index]!,
          returns: row(returns, index),
          ...(controls.entropy !== undefined && { entropyCoefficient: controls.entropy }),
        };
      });
      const selected = options.select?.(traces, normalized);
      const updates = selected === undefined ? all : all.filter((_, index) => selected[index]);
      const lengths = traces.map(({ ids }) => ids.length);
      const stopped = traces.filter(({ finish }) => finish === 'stop').length;
      const outcomes = traces.map((_, index): RolloutOutcome => {
        const reward = total(row(rewards, index));
        const kl = reward - shaped[index]!;
        const shaping = shaped[index]! - scores[index]!;
        return {
          advantages: row(normalized, index),
          reward,
          parts: { score: scores[index]!, ...(shaping !== 0 && { shaping }), ...(kl !== 0 && { kl }) },
          flags: selected?.[index] === false ? ['filtered'] : [],
        };
      });
      return {
        updates,
        outcomes,
        metrics: {
          'objective/kl': kl,
          'objective/entropy': -mean(logProbs.map((list) => total(list))),
          'objective/non_score_reward': nonScoreReward,
          'objective/rlhf_reward': nonScoreReward + mean(shaped),
          'objective/scores': mean(scores),
          'objective/kl_coefficient': klCoefficient,
          ...(controls.entropy !== undefined && { entropy_coef: controls.entropy }),
          ...(controls.length !== undefined && { 'objective/length_cost': lengthCost }),
          'val/num_eos_tokens': stopped,
          ...(valueLoss && {
            'val/explained_variance': explainedVariance(values, (index) => row(returns, index)),
          }),
          ...(baselines && { 'objective/baseline': mean(baselines) }),
          'completions/mean_length': mean(lengths),
          'completions/clipped_ratio': 1 - stopped / traces.length,
          ...metrics,
        },
      };
    },
  };
}

function total(list: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < list.length; i++) sum += list[i]!;
  return sum;
}

/** 1 − Var(return − value) / Var(return) over all tokens; 0 where all returns are equal. */
function explainedVariance(
  values: readonly ArrayLike<number>[],
  returns: (index: number) => Float64Array,
): number {
  const targets = values.flatMap((_, index) => [...returns(index)]);
  const errors = values.flatMap((row, index) => Array.from(returns(index), (target, t) => target - row[t]!));
  const spread = variance(targets, 'population');
  return spread === 0 ? 0 : 1 - variance(errors, 'population') / spread;
}
