/** The stages of an online iteration: models with their programs, sampling, reading, learning. */
import { DataError } from '../../core/errors.ts';
import { mean, variance } from '../../core/statistics.ts';
import { createGenerator } from '../../generate/index.ts';
import { type Forward, logProbForward, valueForward } from '../forward.ts';
import type { OnlineStep, ScoredBatch } from '../step/online-step.ts';
import { createLearner, type Learner } from './learner.ts';
import type { OnlineOptions } from './online.ts';
import type { Sampled } from './online-sampling.ts';
import type { OnlineCounters } from './online-state.ts';

/** Everything that runs programs, with their caches. */
export function openModels(options: OnlineOptions) {
  const { engine, policy, reference, critic, step, optimizer, settings } = options;
  const watched = options.watch === undefined ? {} : { watch: options.watch };
  const scoring = { engine, batchSize: settings.scoringBatchSize, bucket: settings.bucket };
  const models = {
    generator: createGenerator({ engine, ...policy }),
    reference: logProbForward({ ...scoring, ...reference }, step.temperature),
    policyLogProbs: logProbForward({ ...scoring, ...policy }, step.temperature),
    values: critic && valueForward({ ...scoring, ...critic }),
    policy: createLearner({ engine, ...policy, step: step.policy, optimizer, settings, ...watched }),
    critic:
      critic &&
      step.critic &&
      createLearner({ engine, ...critic, step: step.critic, settings, name: 'critic', ...watched }),
  };
  return {
    ...models,
    dispose() {
      for (const model of Object.values(models)) model?.dispose();
    },
  };
}

export type OnlineModels = ReturnType<typeof openModels>;

/** Log-probabilities and values of the completions that could be scored and were not replaced. */
export async function readBatch(
  models: OnlineModels,
  sampled: Sampled,
  step: OnlineStep,
  iteration: number,
): Promise<ScoredBatch> {
  const kept = sampled.traces.flatMap((trace, index) => {
    const score = sampled.scores[index];
    const baseline = sampled.baselines.get(trace.group);
    const incomplete = score === undefined || (step.greedy === true && baseline === undefined);
    return incomplete || sampled.resampled.has(trace) ? [] : [{ trace, score, baseline }];
  });
  if (kept.length === 0) {
    throw new DataError({
      where: `iteration ${iteration + 1}`,
      expected: 'at least one completion that can be scored',
      received: `${sampled.traces.length} that cannot`,
      fix: 'Check the scorer on a few completions',
    });
  }
  const traces = kept.map(({ trace }) => trace);
  const sequences = traces.map(({ prompt, ids }) => {
    const all = [...Array.from(prompt.ids), ...ids];
    return { ids: all, mask: all, start: prompt.ids.length };
  });
  const ofCompletion = async (forward: Forward<(typeof sequences)[number]>): Promise<Float32Array[]> =>
    (await forward.run(sequences)).map((row, index) => row.subarray(sequences[index]!.start - 1));
  return {
    iteration,
    traces,
    scores: kept.map(({ score }) => score),
    logProbs:
      step.temperature === 1
        ? traces.map(({ logProbs }) => logProbs)
        : await ofCompletion(models.policyLogProbs),
    referenceLogProbs: await ofCompletion(models.reference),
    values:
      models.values === undefined
        ? traces.map(({ ids }) => new Float32Array(ids.length))
        : await ofCompletion(models.values),
    ...(step.greedy === true && { baselines: kept.map(({ baseline }) => baseline!) }),
  };
}

/** The updates of an iteration. `policyRate` multiplies the learning rate of the policy. */
export async function learn(
  { step, schedules, settings, rng, watch }: OnlineOptions,
  models: OnlineModels,
  updates: readonly unknown[],
  counters: OnlineCounters,
  policyRate: number,
): Promise<Record<string, number>> {
  const { iteration } = counters;
  const size = Math.min(settings.miniBatchSize, updates.length);
  const scale = watch?.watchdog.learningRateScale ?? 1;
  const policyLearns = iteration >= settings.criticWarmup;
  const policy: Record<string, number>[] = [];
  const critic: Record<string, number>[] = [];
  const take = async (
    learner: Learner<unknown>,
    summarize: (totals: Record<string, number>) => Record<string, number>,
    batch: readonly unknown[],
    rate: number,
    names: { readonly loss: string; readonly norm: string },
  ): Promise<Record<string, number>> => {
    const update = await learner.update(batch, rate, `iteration ${iteration + 1}, ${names.loss}`);
    return { [names.loss]: update.loss, [names.norm]: update.norm, ...summarize(update.totals) };
  };
  for (let epoch = 0; epoch < settings.updateEpochs; epoch++) {
    const order = rng.split('mini-batches').permutation(updates.length, iteration, epoch);
    for (let start = 0; start < updates.length; start += size) {
      const batch = Array.from(order.subarray(start, start + size), (index) => updates[index]!);
      if (policyLearns) {
        const rate = scale * policyRate * schedules.policy(counters.policySteps++);
        const names = { loss: 'loss/policy_avg', norm: 'policy/grad_norm' };
        policy.push({ ...(await take(models.policy, step.policy.summarize, batch, rate, names)), lr: rate });
      }
      if (models.critic !== undefined && step.critic !== undefined) {
        const rate = scale * schedules.critic(counters.criticSteps++);
        const names = { loss: 'loss/value_avg', norm: 'critic/grad_norm' };
        critic.push(await take(models.critic, step.critic.summarize, batch, rate, names));
      }
    }
  }
  const means = (records: readonly Record<string, number>[]): Record<string, number> =>
    Object.fromEntries(
      Object.keys(records[0] ?? {}).map((name) => [name, mean(records.map((record) => record[name]!))]),
    );
  const first = policy[0] ?? {};
  return {
    ...means(policy),
    ...means(critic),
    ...('val/ratio' in first && {
      'val/ratio_var': variance(
        policy.map((record) => record['val/ratio']!),
        'population',
      ),
      // Before the first update the weights are those that sampled: what differs is rounding.
      'sampling/logp_difference': first['sampling/logp_difference']!,
    }),
    ...(policy.length > 0 && { lr: policy.at(-1)!.lr! }),
  };
}
