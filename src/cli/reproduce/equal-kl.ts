/** Rafailov et al. 2023: for the same KL to the SFT policy, DPO reaches a higher gold reward than PPO. */
import { readdirSync } from 'node:fs';
import { mean } from '../../core/statistics.ts';
import { limits } from '../quickstart/context.ts';
import { evaluationRequests, judgeAll, openScorer, sampleGroups } from '../quickstart/evaluate.ts';
import { bestOfCurve } from '../quickstart/figures.ts';
import { trainDpo, trainPolicy } from '../quickstart/pipeline.ts';
import { loadPolicy, logRatios, sample } from '../quickstart/policy.ts';
import type { Experiment, Lab, Point } from './experiment.ts';

const settings = {
  tiny: { requests: 12, most: 4, dpoEvery: 2, ppoEvery: 1, ppoIterations: 3 },
  small: { requests: 512, most: 16, dpoEvery: 25, ppoEvery: 9, ppoIterations: 54 },
  base: { requests: 512, most: 32, dpoEvery: 40, ppoEvery: 10, ppoIterations: 80 },
} as const;

export const equalKl: Experiment = {
  id: 'equal-kl',
  title: 'DPO, PPO and best-of-n at equal KL',
  source: 'Rafailov et al. 2023, “Direct Preference Optimization”, section 6.1 and figure 2',
  claim:
    'From the same labels and at the same KL to the SFT policy, DPO reaches a higher gold utility than PPO, and PPO a higher one than SFT.',
  minutes: 6,
  tests: [
    { figure: 'dpoLessPpo', says: 'DPO’s gold lies above PPO’s at the largest KL that all arms reach' },
    { figure: 'ppoLessSft', says: 'PPO’s gold lies above SFT’s there' },
  ],
  axis: 'KL to SFT, nats',
  async measure(lab) {
    const { pipeline } = lab;
    const { most, dpoEvery, ppoEvery, ppoIterations } = settings[pipeline.options.size];
    const bestOfN = await bestOfNPoints(lab, most);
    const sft: Point = { x: 0, y: bestOfN[0]!.y };
    const keep = { saveLimit: 100 };
    const dpo = await trainedPoints(lab, 'equal-kl-dpo', (name) =>
      trainDpo(pipeline, name, { ...keep, saveEvery: dpoEvery }),
    );
    const ppo = await trainedPoints(lab, 'equal-kl-ppo', (name) =>
      trainPolicy(pipeline, name, { ...keep, saveEvery: ppoEvery, iterations: ppoIterations }),
    );
    const arms = { 'best of n': bestOfN, DPO: [sft, ...dpo], PPO: [sft, ...ppo] };
    const farthest = Object.values(arms).map((points) => Math.max(...points.map(({ x }) => x)));
    const kl = Math.min(...farthest);
    const at = Object.fromEntries(Object.entries(arms).map(([arm, points]) => [arm, goldAt(points, kl)]));
    return {
      figures: {
        kl,
        'gold.sft': sft.y,
        'gold.bestOfN': at['best of n']!,
        'gold.dpo': at.DPO!,
        'gold.ppo': at.PPO!,
        dpoLessPpo: at.DPO! - at.PPO!,
        ppoLessSft: at.PPO! - sft.y,
        bestOfNLessDpo: at['best of n']! - at.DPO!,
      },
      curves: Object.entries(arms).map(([arm, points]) => ({ panel: 'gold utility', arm, points })),
    };
  },
};

/**
 * The best gold that an arm reaches within a KL, on straight lines between its points: a policy of less KL may be taken
 * instead of a worse one of more.
 *
 * @param points from the start of a run to its end
 * @example goldAt([{ x: 0, y: 1 }, { x: 2, y: 3 }], 1) // 2
 */
export function goldAt(points: readonly Point[], kl: number): number {
  let best = Number.NEGATIVE_INFINITY;
  for (const [index, point] of points.entries()) {
    if (point.x <= kl) best = Math.max(best, point.y);
    const next = points[index + 1];
    if (next === undefined || point.x === next.x) continue;
    const share = (kl - point.x) / (next.x - point.x);
    if (share >= 0 && share <= 1) best = Math.max(best, point.y + share * (next.y - point.y));
  }
  return best;
}

function bestOfNPoints({ pipeline, stages }: Lab, most: number): Promise<Point[]> {
  return stages.run('equal-kl-best-of-n', async () => {
    const requests = evaluationRequests(pipeline).all.slice(0, settings[pipeline.options.size].requests);
    const scorer = openScorer(pipeline);
    try {
      const policy = await loadPolicy(pipeline.path('sft', 'model'));
      const groups = await sampleGroups(pipeline, requests, policy, scorer, most);
      return bestOfCurve(groups).map(({ kl: x, gold: y }) => ({ x, y }));
    } finally {
      scorer.dispose();
    }
  });
}

/** Gold against KL of every checkpoint of a run and of its end, on the same requests. */
async function trainedPoints(
  { pipeline, stages }: Lab,
  name: string,
  train: (name: string) => Promise<Record<string, number>>,
): Promise<Point[]> {
  await stages.run(name, () => train(name));
  return stages.run(`${name}-curve`, async () => {
    const { options, path, rng } = pipeline;
    const requests = evaluationRequests(pipeline).all.slice(0, settings[options.size].requests);
    const scorer = openScorer(pipeline);
    try {
      const reference = await loadPolicy(path('sft', 'model'));
      const points: Point[] = [];
      for (const folder of [...checkpointsOf(path(name)), 'model']) {
        options.observer.note(`evaluating ${name} ${folder}`);
        const policy = await loadPolicy(path(name, folder));
        const samples = await sample(
          policy,
          requests.map(({ prompt }) => prompt),
          rng.split('equal-kl').split(name).split(folder),
          { engine: options.engine, interrupted: options.interrupted, maxNewTokens: limits.newTokens },
        );
        const ratios = await logRatios(samples, reference, options.engine);
        const judged = await judgeAll(pipeline, requests, samples, ratios, scorer);
        points.push({ x: Math.max(0, mean(ratios)), y: mean(judged.map(({ utility }) => utility)) });
      }
      return points;
    } finally {
      scorer.dispose();
    }
  });
}

/** Names of the checkpoint folders of a run, by step; the one of its end is the model itself. */
function checkpointsOf(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => /^checkpoint-\d+$/.test(name))
    .sort((a, b) => Number(a.slice(11)) - Number(b.slice(11)));
}
