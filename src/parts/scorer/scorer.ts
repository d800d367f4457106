/** Scorers: what turns a completion into a number. */
import { DataError, NumericError } from '../../core/errors.ts';
import type { Row } from '../../data/index.ts';

/** A completion to be scored. */
export interface ScoreItem {
  /** Text of the prompt and of the completion; a view of the ids, special tokens left out. */
  readonly prompt: string;
  readonly completion: string;
  /** Tokens of the prompt and of the completion, the stop token included where there is one. */
  readonly promptIds: ArrayLike<number>;
  readonly completionIds: ArrayLike<number>;
  /** How sampling ended: at a stop token, or cut at the length. Left out for completions that were not sampled. */
  readonly finish?: 'stop' | 'length';
  /** Completions that are to be compared share a number and stand next to each other; left out: those of one prompt. */
  readonly group?: number;
  /** The data row that the prompt came from, for scorers that need an answer key or a label. */
  readonly row?: Row;
}

/** A number, or `undefined` for "cannot be scored", which is never taken for 0. */
export type Score = number | undefined;

/** What a scorer may know of the run. */
export interface ScoreContext {
  /** Iteration of the run, from 0; left out outside of runs. */
  readonly iteration?: number;
  /** Hears the scores of each reward that a score is made of, before weights: null where it does not concern an item. */
  readonly onPart?: (name: string, scores: readonly (Score | null)[]) => void;
}

/** Scores completions. Higher is better. */
export interface Scorer {
  /** Name in metrics and messages. */
  readonly name: string;
  /** One score per item, in order. */
  score(items: readonly ScoreItem[], context?: ScoreContext): Promise<readonly Score[]>;
  dispose(): void;
}

/** A function of one completion. */
export type ScoreFunction = (item: ScoreItem) => Score | Promise<Score>;

/**
 * A scorer from a function. All items of a call run at once when the function is asynchronous.
 *
 * @example functionScorer('length', ({ completionIds }) => -completionIds.length)
 */
export function functionScorer(name: string, score: ScoreFunction): Scorer {
  return {
    name,
    score: (items) => Promise.all(items.map((item) => score(item))),
    dispose() {},
  };
}

/**
 * Scores of items, checked.
 *
 * @throws DataError when the scorer returns another number of scores; NumericError naming the first score that is no
 *   finite number
 */
export async function scoreAll(
  scorer: Scorer,
  items: readonly ScoreItem[],
  context: ScoreContext = {},
): Promise<readonly Score[]> {
  const scores = await scorer.score(items, context);
  if (scores.length !== items.length) {
    throw new DataError({
      where: `scorer ${scorer.name}`,
      expected: `${items.length} scores, one per completion`,
      received: `${scores.length}`,
      fix: 'Return one score per item, and undefined for an item that cannot be scored',
    });
  }
  scores.forEach((score, index) => {
    if (score === undefined || Number.isFinite(score)) return;
    throw new NumericError({
      where: `scorer ${scorer.name}, completion ${index + 1} (${JSON.stringify(items[index]!.completion.slice(0, 60))})`,
      expected: 'a finite number, or undefined for "cannot be scored"',
      received: String(score),
      fix: 'Return undefined instead',
    });
  });
  return scores;
}
