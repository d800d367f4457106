/** Prompts → token traces. */
import type { Rng } from '../../core/rng.ts';
import type { Row } from '../../data/index.ts';
import type { Generator } from '../../generate/index.ts';
import type { ScoreItem } from '../scorer/scorer.ts';

/** A prompt to sample from. */
export interface RolloutPrompt {
  readonly ids: ArrayLike<number>;
  /** The prompt as text, for scorers. */
  readonly text: string;
  readonly row?: Row;
}

/** A sampled completion with everything that is known from sampling alone. */
export interface Trace {
  readonly prompt: RolloutPrompt;
  /** Completions of the same prompt in this batch share a group; rows of a group are adjacent. */
  readonly group: number;
  /** Tokens, the stop token included, at least one. */
  readonly ids: readonly number[];
  readonly text: string;
  /** log π(token) of the sampler at temperature 1, nats. */
  readonly logProbs: ArrayLike<number>;
  readonly finish: 'stop' | 'length';
}

export interface RolloutOptions {
  readonly generator: Generator;
  readonly completionsPerPrompt: number;
  /** Also the likeliest completion of each prompt, after its others; it shares their group. Default: no. */
  readonly greedy?: boolean;
  /** Number of the first prompt's group; default 0. */
  readonly firstGroup?: number;
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly stopIds: ReadonlySet<number>;
  /** Rows decoded together. */
  readonly batchSize: number;
  /** Ids of a completion as text, special tokens left out. */
  readonly decode: (ids: readonly number[]) => string;
}

/** Samples completions of every prompt. A draw depends on the place in the batch and the position only. */
export async function rollout(
  prompts: readonly RolloutPrompt[],
  rng: Rng,
  options: RolloutOptions,
): Promise<Trace[]> {
  const { greedy = false, firstGroup = 0, completionsPerPrompt } = options;
  const perPrompt = completionsPerPrompt + (greedy ? 1 : 0);
  const each = prompts.flatMap((prompt, index) =>
    Array.from({ length: perPrompt }, () => ({ prompt, group: firstGroup + index })),
  );
  const { temperature, topP, maxNewTokens, stopIds, batchSize } = options;
  const completions = await options.generator.generate(
    each.map(({ prompt }) => prompt.ids),
    {
      temperature,
      topK: 0,
      topP,
      maxNewTokens,
      stopIds,
      batchSize,
      rng,
      ...(greedy && { perPrompt: greedyLast(perPrompt) }),
    },
  );
  return completions.map(({ ids, logProbs, finish }, index) => ({
    ...each[index]!,
    ids,
    logProbs,
    finish,
    text: options.decode(ids),
  }));
}

/** Sampling options by place: the last of each group of `perPrompt` is the likeliest completion. */
const greedyLast = (perPrompt: number) => (index: number) =>
  index % perPrompt === perPrompt - 1 ? { temperature: 0 } : {};

/** A trace as scorers see it. */
export function scoreItem({ prompt, group, ids, text, finish }: Trace): ScoreItem {
  return {
    prompt: prompt.text,
    completion: text,
    promptIds: prompt.ids,
    completionIds: ids,
    finish,
    group,
    ...(prompt.row === undefined ? {} : { row: prompt.row }),
  };
}
