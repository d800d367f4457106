/** Shao et al. 2024: without a critic, GRPO reaches more than PPO for the same compute. */
import { mean } from '../../core/statistics.ts';
import { grpo, config as grpoConfig } from '../../methods/online/grpo.ts';
import { rloo, config as rlooConfig } from '../../methods/online/rloo.ts';
import type { OnlineMethod } from '../../parts/online-method.ts';
import { limits } from '../quickstart/context.ts';
import { evaluationRequests } from '../quickstart/evaluate.ts';
import { readGoldLog } from '../quickstart/gold-log.ts';
import { onlineSettings, trainOnlineStage, trainPolicy } from '../quickstart/pipeline.ts';
import { loadPolicy, logRatios, sample } from '../quickstart/policy.ts';
import type { Experiment, Lab, Measurement } from './experiment.ts';

/**
 * Forward passes of a completion, a backward pass counting as two: PPO samples, reads the reference, the reward model and
 * the critic, and makes two updates of policy and critic, 1 + 3 + 2 · (3 + 3) = 16; without a critic 1 + 2 + 2 · 3 = 9.
 */
const passes = { ppo: 16, criticFree: 9 } as const;

export const equalCompute: Experiment = {
  id: 'equal-compute',
  title: 'GRPO and PPO at equal compute',
  source: 'Shao et al. 2024, “DeepSeekMath”, section 4.1',
  claim:
    'For the same compute, GRPO, which has no critic and so makes more completions, reaches a higher gold utility than PPO.',
  minutes: 6,
  tests: [{ figure: 'grpoLessPpo', says: 'GRPO’s gold lies above PPO’s at the end' }],
  axis: 'forward passes, thousands',
  async measure(lab) {
    const { pipeline } = lab;
    const settings = onlineSettings(pipeline);
    const iterations = Math.round((settings.iterations * passes.ppo) / passes.criticFree);
    const ppo = await arm(lab, 'PPO', passes.ppo, (name) => trainPolicy(pipeline, name));
    const group = await arm(lab, 'GRPO', passes.criticFree, (name) =>
      trainOnlineStage(pipeline, name, grpo as unknown as OnlineMethod, {
        ...grpoConfig.parse({ ...settings, iterations, completionsPerPrompt: 8, klCoefficient: 0.2 }),
      }),
    );
    const leaveOneOut = await arm(lab, 'RLOO', passes.criticFree, (name) =>
      trainOnlineStage(pipeline, name, rloo as unknown as OnlineMethod, {
        ...rlooConfig.parse({ ...settings, iterations, completionsPerPrompt: 4, klCoefficient: 0.3 }),
      }),
    );
    const arms = { ppo, grpo: group, rloo: leaveOneOut };
    return {
      figures: {
        ...Object.fromEntries(
          Object.entries(arms).flatMap(([name, { gold, kl }]) => [
            [`gold.${name}`, gold],
            [`kl.${name}`, kl],
          ]),
        ),
        grpoLessPpo: group.gold - ppo.gold,
        rlooLessPpo: leaveOneOut.gold - ppo.gold,
      },
      curves: Object.values(arms).map(({ curve }) => curve),
    };
  },
};

interface Arm {
  /** Mean gold utility of its answers to the evaluation's requests. */
  readonly gold: number;
  /** Nats per completion. */
  readonly kl: number;
  readonly curve: Measurement['curves'][number];
}

/** Trains one arm and lets its policy answer the evaluation's requests. */
async function arm(
  { pipeline, stages }: Lab,
  label: string,
  passesPerCompletion: number,
  train: (name: string) => Promise<Record<string, number>>,
): Promise<Arm> {
  const name = `equal-compute-${label.toLowerCase()}`;
  await stages.run(name, () => train(name));
  return stages.run(`${name}-judged`, async () => {
    const { options, path, rng, testbed, size } = pipeline;
    const requests = evaluationRequests(pipeline).all;
    const policy = await loadPolicy(path(name, 'model'));
    const samples = await sample(
      policy,
      requests.map(({ prompt }) => prompt),
      rng.split('equal-compute').split(label),
      { engine: options.engine, interrupted: options.interrupted, maxNewTokens: limits.newTokens },
    );
    const ratios = await logRatios(samples, await loadPolicy(path('sft', 'model')), options.engine);
    const perIteration = (size.ppo.batch * passesPerCompletion) / 1000;
    return {
      gold: mean(samples.map(({ text }, index) => testbed.judge(requests[index]!, text).utility)),
      kl: mean(ratios),
      curve: {
        panel: 'gold utility of its samples',
        arm: label,
        points: smooth(
          readGoldLog(path(`${name}-gold.jsonl`)).map(({ iteration, gold }) => ({
            x: (iteration + 1) * perIteration,
            y: gold,
          })),
        ),
      },
    };
  });
}

/** Means of six points each: an iteration alone is 64 completions. */
function smooth(points: readonly { readonly x: number; readonly y: number }[]) {
  const width = 6;
  return Array.from({ length: Math.ceil(points.length / width) }, (_, index) => {
    const part = points.slice(index * width, (index + 1) * width);
    return { x: mean(part.map(({ x }) => x)), y: mean(part.map(({ y }) => y)) };
  });
}
