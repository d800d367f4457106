/** Gao, Schulman & Hilton 2023: pushed far enough from where it was trained, a learned reward rises while gold falls. */
import { readFileSync } from 'node:fs';
import { mean } from '../../core/statistics.ts';
import { evaluationRequests, openScorer, sampleGroups } from '../quickstart/evaluate.ts';
import { bestOfCurve } from '../quickstart/figures.ts';
import { readGoldLog } from '../quickstart/gold-log.ts';
import { trainPolicy } from '../quickstart/pipeline.ts';
import { loadPolicy } from '../quickstart/policy.ts';
import type { Experiment, Lab, Measurement } from './experiment.ts';

/** Iterations of PPO that make one point: 64 completions each. */
const window = 4;

const settings = {
  tiny: { iterations: 8, requests: 12, most: 8 },
  small: { iterations: 60, requests: 160, most: 64 },
  base: { iterations: 120, requests: 320, most: 256 },
} as const;

export const overOptimization: Experiment = {
  id: 'over-optimization',
  title: 'Over-optimization of a learned reward',
  source: 'Gao, Schulman & Hilton 2023, “Scaling Laws for Reward Model Overoptimization”, figure 1',
  claim:
    'As PPO without a KL penalty moves away from the SFT policy, the learned reward keeps rising, while gold rises first and then falls below where it began.',
  minutes: 6,
  tests: [
    { figure: 'ppo.goldGain', says: 'PPO’s gold rises first: its peak lies above the start' },
    { figure: 'ppo.goldLoss', says: 'then it falls: the start lies above its end' },
    { figure: 'ppo.learnedRise', says: 'and the learned reward still rises from that peak to the end' },
  ],
  axis: '√KL to SFT, nats',
  async measure(lab) {
    const ppo = await measurePpo(lab);
    const bestOfN = await measureBestOfN(lab);
    return {
      figures: { ...ppo.figures, ...bestOfN.figures },
      curves: [...ppo.curves, ...bestOfN.curves],
    };
  },
};

interface Reached {
  readonly distance: number;
  readonly learned: number;
  readonly gold: number;
}

async function measurePpo({ pipeline, stages }: Lab): Promise<Measurement> {
  const name = 'over-optimization-ppo';
  const { iterations } = settings[pipeline.options.size];
  await stages.run(name, () => trainPolicy(pipeline, name, { klCoefficient: 0, iterations }));
  const kl = new Map<number, number>();
  for (const line of readFileSync(pipeline.path(name, 'metrics.jsonl'), 'utf8').split('\n').filter(Boolean)) {
    const record = JSON.parse(line) as Record<string, number>;
    if (record['objective/kl'] !== undefined) kl.set(record.step! - 1, record['objective/kl']);
  }
  const log = readGoldLog(pipeline.path(`${name}-gold.jsonl`));
  const points: Reached[] = [];
  for (let start = 0; start < iterations; start += window) {
    const part = log.filter(({ iteration }) => iteration >= start && iteration < start + window);
    points.push({
      // A sample of KL may come out just below 0.
      distance: Math.sqrt(Math.max(0, mean(part.map(({ iteration }) => kl.get(iteration) ?? 0)))),
      learned: mean(part.map(({ learned }) => learned)),
      gold: mean(part.map(({ gold }) => gold)),
    });
  }
  const [first, last] = [points[0]!, points.at(-1)!];
  const peak = points.reduce((best, point) => (point.gold > best.gold ? point : best));
  return {
    figures: {
      'ppo.goldStart': first.gold,
      'ppo.goldPeak': peak.gold,
      'ppo.klAtPeak': peak.distance ** 2,
      'ppo.goldEnd': last.gold,
      'ppo.klAtEnd': last.distance ** 2,
      'ppo.learnedEnd': last.learned,
      'ppo.goldGain': peak.gold - first.gold,
      'ppo.goldLoss': first.gold - last.gold,
      'ppo.learnedRise': last.learned - peak.learned,
    },
    curves: curvesOf('PPO, no KL penalty', points),
  };
}

async function measureBestOfN({ pipeline, stages }: Lab): Promise<Measurement> {
  const { requests: count, most } = settings[pipeline.options.size];
  return stages.run('over-optimization-best-of-n', async () => {
    const requests = evaluationRequests(pipeline).all.slice(0, count);
    const scorer = openScorer(pipeline);
    try {
      const policy = await loadPolicy(pipeline.path('sft', 'model'));
      const groups = await sampleGroups(pipeline, requests, policy, scorer, most);
      const points = bestOfCurve(groups).map(
        ({ kl, learnedReward: learned, gold }): Reached => ({ distance: Math.sqrt(kl), learned, gold }),
      );
      const peak = points.reduce((best, point) => (point.gold > best.gold ? point : best));
      return {
        figures: {
          'bestOfN.goldStart': points[0]!.gold,
          'bestOfN.goldPeak': peak.gold,
          'bestOfN.goldEnd': points.at(-1)!.gold,
          'bestOfN.goldLossFromPeak': peak.gold - points.at(-1)!.gold,
        },
        curves: curvesOf('best of n', points),
      };
    } finally {
      scorer.dispose();
    }
  });
}

const curvesOf = (arm: string, points: readonly Reached[]): Measurement['curves'] => [
  { panel: 'learned reward', arm, points: points.map(({ distance: x, learned: y }) => ({ x, y })) },
  { panel: 'gold utility', arm, points: points.map(({ distance: x, gold: y }) => ({ x, y })) },
];
