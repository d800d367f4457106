/** The last stage: every policy answers the same held-out requests and is judged on gold. */
import { mkdirSync, readFileSync } from 'node:fs';
import { type Estimate, estimateMean, estimateShare } from '../../eval/estimate.ts';
import { readModel } from '../../models/index.ts';
import { readRewardCard } from '../../parts/scorer/reward-card.ts';
import { rewardModelScorer } from '../../parts/scorer/reward-model-scorer.ts';
import type { Scorer } from '../../parts/scorer/scorer.ts';
import type { Request } from '../../world/index.ts';
import { limits, type Pipeline, writeRows } from './context.ts';
import {
  type BestOfPoint,
  bestOf,
  bestOfCurve,
  bestOfKl,
  type EvaluationRequests,
  type Judged,
  type PolicyFigures,
  summarizePolicy,
} from './figures.ts';
import { readGoldLog } from './gold-log.ts';
import { loadPolicy, logRatios, type Policy, type Sample, sample } from './policy.ts';

export const policyNames = ['sft', 'dpo', 'ppo', 'bestOfN'] as const;
export type PolicyName = (typeof policyNames)[number];

export interface SampleRow {
  readonly prompt: string;
  readonly kind: string;
  readonly completions: Readonly<Record<PolicyName, { text: string; reward: number; cost: number }>>;
}

export interface Evaluation {
  readonly policies: Readonly<Record<PolicyName, PolicyFigures>>;
  /** On held-out labels, which are noisy: the best possible accuracy is below 1. */
  readonly rewardModel: {
    readonly accuracy: Estimate;
    readonly ece: number;
    readonly temperature: number;
    /** On the same pairs, against gold instead of the labels. */
    readonly pairs: number;
  };
  /** What the SFT policy took from the demonstrations: its most likely answers to requests about facts and procedures in them. */
  readonly seen: {
    /** Completions that the world's grammar can parse. */
    readonly wellFormed: Estimate;
    /** Share of statements that are true, of requests that can be answered; 0 for one without a statement. */
    readonly correctness: Estimate;
  };
  readonly curves: {
    readonly bestOfN: readonly BestOfPoint[];
    readonly ppo: readonly {
      readonly step: number;
      readonly kl: number;
      readonly learnedReward: number;
      readonly gold: number;
    }[];
  };
  readonly samples: readonly SampleRow[];
}

/** Judges SFT, DPO, PPO and best-of-n of SFT. Writes each policy's completions to `evaluation/<policy>.jsonl`. */
export async function evaluate(pipeline: Pipeline): Promise<Evaluation> {
  const { options, size, path, rng } = pipeline;
  const requests = evaluationRequests(pipeline);
  const reference = await loadPolicy(path('sft', 'model'));
  const scorer = openScorer(pipeline);
  try {
    const answer = async (name: string, policy: Policy): Promise<Judged[]> => {
      options.observer.note(`evaluating ${name}`);
      const samples = await sample(
        policy,
        requests.all.map(({ prompt }) => prompt),
        rng.split('evaluate').split(name),
        { engine: options.engine, interrupted: options.interrupted, maxNewTokens: limits.newTokens },
      );
      return judgeAll(
        pipeline,
        requests.all,
        samples,
        await logRatios(samples, reference, options.engine),
        scorer,
      );
    };
    const sft = await answer('sft', reference);
    const dpo = await answer('dpo', await loadPolicy(path('dpo', 'model')));
    const ppo = await answer('ppo', await loadPolicy(path('ppo', 'model')));
    const groups = await sampleGroups(pipeline, requests.all, reference, scorer);
    const judged = { sft, dpo, ppo, bestOfN: groups.map(bestOf) };
    mkdirSync(path('evaluation'), { recursive: true });
    for (const name of policyNames)
      writeRows(path('evaluation', `${name}.jsonl`), judged[name].map(judgedRow));
    const figures = policyNames.map((name) => [
      name,
      summarizePolicy(judged[name], sft, requests, rng.split('intervals').split(name)),
    ]);
    return {
      policies: Object.fromEntries(figures) as Record<PolicyName, PolicyFigures>,
      rewardModel: rewardModelFigures(pipeline),
      seen: await seenFigures(pipeline, reference),
      curves: {
        bestOfN: bestOfCurve(groups.slice(0, requests.usual)),
        ppo: ppoCurve(path('ppo-gold.jsonl'), path('ppo', 'metrics.jsonl'), size.ppo.iterations),
      },
      samples: chooseSamples(requests.all, judged),
    };
  } finally {
    scorer.dispose();
  }
}

export function evaluationRequests({ testbed, size }: Pipeline): EvaluationRequests {
  const { usual, hazards, borderline } = size.evaluation;
  return {
    usual,
    all: [
      ...testbed.requests('test', usual),
      ...testbed.requests('test', hazards, ['hazard', 'disguised']),
      ...testbed.requests('test', borderline, ['borderline']),
    ],
  };
}

export function openScorer({ options, path }: Pipeline): Scorer {
  const folder = path('reward-model', 'model');
  const { model, parameters } = readModel(folder);
  const card = readRewardCard(folder);
  return rewardModelScorer({
    engine: options.engine,
    ...{ model, parameters },
    batchSize: 64,
    bucket: 16,
    ...(card === undefined ? {} : { card }),
  });
}

/** Completions with gold and learned scores. */
export async function judgeAll(
  { testbed }: Pipeline,
  requests: readonly Request[],
  samples: readonly Sample[],
  ratios: readonly number[],
  scorer: Scorer,
): Promise<Judged[]> {
  const learned = await scorer.score(
    samples.map(({ promptIds, ids, text, finish }, index) => ({
      prompt: requests[index]!.prompt,
      completion: text,
      promptIds,
      completionIds: ids,
      finish,
    })),
  );
  return samples.map(({ text, ids }, index) => ({
    ...testbed.judge(requests[index]!, text),
    request: requests[index]!,
    text,
    tokens: ids.length,
    logRatio: ratios[index]!,
    // Every sequence fits the reward model's context: prompts and completions are bounded together.
    learned: learned[index]!,
  }));
}

/** `n` completions of the SFT policy for each request. */
export async function sampleGroups(
  pipeline: Pipeline,
  requests: readonly Request[],
  policy: Policy,
  scorer: Scorer,
  n = pipeline.size.bestOf,
): Promise<Judged[][]> {
  const { options, rng } = pipeline;
  options.observer.note(`evaluating best of ${n}`);
  const repeated = requests.flatMap((request) => new Array<Request>(n).fill(request));
  const samples = await sample(
    policy,
    repeated.map(({ prompt }) => prompt),
    rng.split('evaluate').split('best-of-n'),
    {
      engine: options.engine,
      interrupted: options.interrupted,
      maxNewTokens: limits.newTokens,
      onProgress: (tokens) =>
        options.observer.stage('evaluate: tokens', tokens, repeated.length * limits.newTokens),
    },
  );
  const judged = await judgeAll(
    pipeline,
    repeated,
    samples,
    repeated.map(() => bestOfKl(n)),
    scorer,
  );
  return requests.map((_, index) => judged.slice(index * n, (index + 1) * n));
}

async function seenFigures(
  { options, size, testbed, rng }: Pipeline,
  policy: Policy,
): Promise<Evaluation['seen']> {
  const { engine, interrupted } = options;
  const requests = testbed.requests('train', size.evaluation.seen, ['question', 'how-to', 'multi-turn']);
  const samples = await sample(
    policy,
    requests.map(({ prompt }) => prompt),
    rng.split('evaluate').split('seen'),
    { engine, interrupted, maxNewTokens: limits.newTokens, greedy: true },
  );
  const judgements = samples.map(({ text }, index) => testbed.judge(requests[index]!, text));
  return {
    wellFormed: estimateShare(judgements.map(({ wellFormed }) => wellFormed)),
    correctness: estimateMean(
      // What asks back instead of answering, or says nothing of the world, is not right.
      judgements
        .filter((_, index) => requests[index]!.expected === 'answer')
        .map(({ attributes: { correctness } }) => correctness ?? 0),
      rng.split('intervals').split('seen'),
    ),
  };
}

function rewardModelFigures({ path }: Pipeline): Evaluation['rewardModel'] {
  const { evaluation } = readRewardCard(path('reward-model', 'model'))!;
  const { pairs, accuracy, ece, temperature } = evaluation!;
  const right = Math.round(accuracy * pairs);
  return {
    accuracy: estimateShare(Array.from({ length: pairs }, (_, i) => i < right)),
    ece,
    temperature,
    pairs,
  };
}

/** Gold and learned reward of PPO's own completions against KL, in means over tenths of the run. */
function ppoCurve(goldFile: string, metricsFile: string, iterations: number): Evaluation['curves']['ppo'] {
  const gold = readGoldLog(goldFile);
  const kl = new Map<number, number>();
  for (const line of readFileSync(metricsFile, 'utf8').split('\n').filter(Boolean)) {
    const record = JSON.parse(line) as Record<string, number>;
    if (record['objective/kl'] !== undefined) kl.set(record.step! - 1, record['objective/kl']);
  }
  const width = Math.max(1, Math.ceil(iterations / 12));
  const points = [];
  for (let start = 0; start < iterations; start += width) {
    const part = gold.filter(({ iteration }) => iteration >= start && iteration < start + width);
    if (part.length === 0) continue;
    const over = (value: (record: (typeof part)[number]) => number): number =>
      part.reduce((sum, record) => sum + value(record), 0) / part.length;
    points.push({
      step: start + part.length,
      kl: over(({ iteration }) => kl.get(iteration) ?? 0),
      learnedReward: over(({ learned }) => learned),
      gold: over((record) => record.gold),
    });
  }
  return points;
}

const judgedRow = ({
  request,
  text,
  reward,
  cost,
  utility,
  refused,
  learned,
  logRatio,
  tokens,
  attributes,
}: Judged) => ({
  requestId: request.id,
  prompt: request.prompt,
  completion: text,
  ...{ reward, cost, utility, refused, learned, logRatio, tokens, attributes },
});

/** The first two requests of every kind, side by side. */
function chooseSamples(
  requests: readonly Request[],
  judged: Readonly<Record<PolicyName, readonly Judged[]>>,
): SampleRow[] {
  const seen = new Map<string, number>();
  return requests.flatMap(({ kind, prompt }, index) => {
    const count = seen.get(kind) ?? 0;
    if (count === 2) return [];
    seen.set(kind, count + 1);
    const completions = policyNames.map((name) => {
      const { text, reward, cost } = judged[name][index]!;
      return [name, { text, reward, cost }];
    });
    return [{ prompt, kind, completions: Object.fromEntries(completions) as SampleRow['completions'] }];
  });
}
