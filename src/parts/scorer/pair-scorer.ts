/** A pairwise preference model as a scorer: completions of a prompt are compared with each other. */
import { ConfigError } from '../../core/errors.ts';
import { isScoreModel } from '../../models/score-model.ts';
import { type ForwardOptions, scoreForward } from '../forward.ts';
import type { ScoreItem, Scorer } from './scorer.ts';

/**
 * A prompt with two completions after each other, each ended with the stop token: what a preference model reads.
 *
 * @returns the ids, [P + C₁ + C₂] and the stop tokens that were missing
 */
export function joinedPair(
  prompt: ArrayLike<number>,
  first: ArrayLike<number>,
  second: ArrayLike<number>,
  stopId: number,
): number[] {
  const ended = (ids: ArrayLike<number>): number[] => {
    const list = Array.from(ids);
    return list.at(-1) === stopId ? list : [...list, stopId];
  };
  return [...Array.from(prompt), ...ended(first), ...ended(second)];
}

/** log σ(x), without overflow. */
const logSigmoid = (x: number): number => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)));
const logAddExp = (a: number, b: number): number => Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));

/**
 * log P/(1 − P) of P(a preferred to b) = ½·(σ(ab) + 1 − σ(ba)), the mean of what the model says of both orders: what it owes to a
 * place alone cancels, and P(a, b) + P(b, a) = 1.
 *
 * @param inOrder logit that the first is preferred, with a first
 * @param reversed the same with b first
 * @example 2 and 1, such as 1.5 for the first place and 0.5 for a: P = ½·(0.8808 + 1 − 0.7311) = 0.5749, logit 0.3017
 */
export function preferenceLogit(inOrder: number, reversed: number): number {
  return (
    logAddExp(logSigmoid(inOrder), logSigmoid(-reversed)) -
    logAddExp(logSigmoid(-inOrder), logSigmoid(reversed))
  );
}

export interface PairScorerOptions extends ForwardOptions {
  readonly name: string;
  /** Stands after each completion that does not end with it. */
  readonly stopId: number | undefined;
}

/**
 * The score of a completion is the mean over its group, itself included, of the logits of being preferred: with a group of two the
 * difference of scores is the logit of the pair, and where logits are differences of hidden rewards, so are those of the scores.
 * A group is what stands next to each other with the same `group`, or without one with the same prompt. It costs G·(G − 1) passes
 * over a prompt with two completions. A completion that is alone, or of which two do not fit into the context behind the prompt,
 * cannot be scored.
 *
 * @source the mean of a row is the least-squares solution r of L_ij ≈ r_i − r_j: Jiang, Lim, Yao, Ye 2011, "Statistical ranking and
 *   combinatorial Hodge theory", section 4
 * @throws ConfigError when the model has no score head, or there is no stop token
 */
export function pairScorer(options: PairScorerOptions): Scorer {
  const { model, name, stopId } = options;
  if (!isScoreModel(model) || stopId === undefined) {
    throw new ConfigError({
      where: `preference model ${name}`,
      expected: 'a model with a score head (…ForSequenceClassification), and a tokenizer with a stop token',
      received: stopId === undefined ? 'a tokenizer without' : 'a language model',
      fix: 'Train one with `heed pair-rm`',
    });
  }
  const forward = scoreForward(options);
  return {
    name,
    async score(items) {
      const comparisons = groupsOf(items).flatMap((members) => {
        const fitting = members.filter((at) => {
          const { promptIds, completionIds } = items[at]!;
          return promptIds.length + 2 * (completionIds.length + 1) <= model.maxPositions;
        });
        return fitting.flatMap((a) =>
          fitting.filter((b) => b !== a).map((b) => ({ a, b, size: fitting.length })),
        );
      });
      const logits = await forward.run(
        comparisons.map(({ a, b }) => {
          const { promptIds, completionIds } = items[a]!;
          return joinedPair(promptIds, completionIds, items[b]!.completionIds, stopId);
        }),
      );
      const at = new Map(comparisons.map(({ a, b }, index) => [`${a} ${b}`, logits[index]![0]!]));
      const scores = new Array<number | undefined>(items.length).fill(undefined);
      for (const { a, b, size } of comparisons) {
        const logit = preferenceLogit(at.get(`${a} ${b}`)!, at.get(`${b} ${a}`)!);
        scores[a] = (scores[a] ?? 0) + logit / size;
      }
      return scores;
    },
    dispose: () => forward.dispose(),
  };
}

/** Places of the items of each group, in order. */
function groupsOf(items: readonly ScoreItem[]): number[][] {
  const groups: number[][] = [];
  items.forEach((item, index) => {
    const before = items[index - 1];
    if (before !== undefined && sameGroup(before, item)) groups.at(-1)!.push(index);
    else groups.push([index]);
  });
  return groups;
}

function sameGroup(a: ScoreItem, b: ScoreItem): boolean {
  if (a.group !== undefined || b.group !== undefined) return a.group === b.group;
  const { length } = a.promptIds;
  return length === b.promptIds.length && Array.from(a.promptIds).every((id, i) => id === b.promptIds[i]);
}
