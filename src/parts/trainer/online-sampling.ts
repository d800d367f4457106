/** Sampling of an iteration: prompts, completions, scores, and further groups in place of those that teach nothing. */
import { DataError } from '../../core/errors.ts';
import type { PromptSource } from '../rollout/prompt-source.ts';
import { rollout, scoreItem, type Trace } from '../rollout/rollout.ts';
import { type Score, scoreAll } from '../scorer/scorer.ts';
import { type PartScore, rewardMetrics } from '../scorer/weighted-scorer.ts';
import type { OnlineOptions } from './online.ts';
import type { OnlineModels } from './online-iteration.ts';

export interface Sampled {
  /** Everything that was sampled and scored, the likeliest completions apart. */
  readonly traces: readonly Trace[];
  readonly scores: readonly Score[];
  /** Scores by the name of the reward, before weights. */
  readonly rewards: ReadonlyMap<string, readonly PartScore[]>;
  /** Those whose group was replaced by another. */
  readonly resampled: ReadonlySet<Trace>;
  /** Score of the likeliest completion by group; empty where the step does not ask for it. */
  readonly baselines: ReadonlyMap<number, number>;
  readonly metrics: Readonly<Record<string, number>>;
  readonly milliseconds: { readonly sampling: number; readonly scoring: number };
}

/**
 * Completions of an iteration with their scores. A step that resamples gets as many groups that teach as an iteration has, or what
 * was found within its rounds; each round takes as many further prompts as groups are missing.
 *
 * @throws DataError when no group teaches within the rounds
 */
export async function sampleAndScore(
  options: OnlineOptions,
  { generator }: OnlineModels,
  source: PromptSource,
  iteration: number,
): Promise<Sampled> {
  const { settings, step, clock } = options;
  const wanted = settings.batchSize / settings.completionsPerPrompt;
  const { rounds, teaches } = step.resampling ?? { rounds: 1, teaches: () => true };
  const rng = options.rng.split('rollout').split(iteration);
  const traces: Trace[] = [];
  const scores: Score[] = [];
  const rewards = new Map<string, PartScore[]>();
  const resampled = new Set<Trace>();
  const baselines = new Map<number, number>();
  const milliseconds = { sampling: 0, scoring: 0 };
  let [groups, found, round] = [0, 0, 0];
  for (; round < rounds && found < wanted; round++) {
    const started = clock();
    const chosen = source.take(wanted - found);
    const sampled = await rollout(
      chosen.map((index) => options.prompts[index]!),
      round === 0 ? rng : rng.split('again').split(round),
      {
        ...{ generator, stopIds: options.stopIds, decode: options.decode, firstGroup: groups },
        ...{ temperature: step.temperature, topP: settings.topP, maxNewTokens: settings.maxNewTokens },
        ...{ completionsPerPrompt: settings.completionsPerPrompt, greedy: step.greedy ?? false },
        batchSize: settings.scoringBatchSize,
      },
    );
    const afterSampling = clock();
    const parts = new Map<string, readonly PartScore[]>();
    const scored = await scoreAll(options.scorer, sampled.map(scoreItem), {
      iteration,
      onPart: (name, list) => void parts.set(name, list),
    });
    milliseconds.sampling += afterSampling - started;
    milliseconds.scoring += clock() - afterSampling;
    const perGroup = sampled.length / chosen.length;
    for (const [at, prompt] of chosen.entries()) {
      const first = at * perGroup;
      const members = sampled.slice(first, first + perGroup);
      const values = scored.slice(first, first + perGroup);
      for (const [name, list] of parts) {
        const own = list.slice(first, first + settings.completionsPerPrompt);
        rewards.set(name, [...(rewards.get(name) ?? []), ...own]);
      }
      if (step.greedy === true) {
        members.pop();
        const baseline = values.pop();
        if (baseline !== undefined) baselines.set(groups + at, baseline);
      }
      const known = values.filter((score) => score !== undefined);
      source.observe(prompt, known);
      const good = teaches(known);
      if (good) found++;
      else for (const trace of members) resampled.add(trace);
      traces.push(...members);
      scores.push(...values);
    }
    groups += chosen.length;
  }
  if (found === 0) throw nothingTeaches(iteration, groups, round);
  return {
    ...{ traces, scores, rewards, resampled, baselines, milliseconds },
    metrics: {
      ...source.metrics(),
      ...Object.assign({}, ...Array.from(rewards, ([name, list]) => rewardMetrics(name, list))),
      ...(step.resampling && {
        'sampling/resampled_share': (groups - found) / groups,
        'sampling/rounds': round,
        'sampling/groups': found,
      }),
    },
  };
}

function nothingTeaches(iteration: number, groups: number, rounds: number): DataError {
  return new DataError({
    where: `iteration ${iteration + 1}`,
    expected: 'a prompt whose completions have different scores',
    received: `${groups} prompts in ${rounds} rounds whose completions all score alike`,
    fix:
      iteration === 0
        ? 'Use prompts that are neither too easy nor too hard, more completions per prompt, a finer reward, or more rounds'
        : 'The prompts may be solved: the last checkpoint has what was learned. To go on, use harder prompts, more completions per prompt, a finer reward, or more rounds',
  });
}
