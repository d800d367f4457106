/** The world as the quickstart uses it. */
import type { Rng } from '../../core/rng.ts';
import {
  createWorld,
  type Demonstration,
  goldCost,
  goldReward,
  goldUtility,
  type Kind,
  prefer,
  type Request,
  type Split,
  scoreAttributes,
  usualAnnotator,
} from '../../world/index.ts';

/** What gold says of a completion. */
export interface Judgement {
  readonly reward: number;
  readonly cost: number;
  /** Reward less what the cost takes off. */
  readonly utility: number;
  readonly refused: boolean;
  readonly wellFormed: boolean;
  /** Each in [0, 1], those that apply to the request. */
  readonly attributes: Readonly<Record<string, number>>;
}

export interface Testbed {
  demonstrations(count: number): readonly Demonstration[];
  requests(split: Split, count: number, kinds?: readonly Kind[]): readonly Request[];
  request(id: string): Request;
  judge(request: Request, completion: string): Judgement;
  /** Which of two completions the noisy annotator prefers; undefined for a tie. */
  prefer(request: Request, completions: readonly [string, string], index: number): 0 | 1 | undefined;
}

export function createTestbed(seed: number, rng: Rng): Testbed {
  const world = createWorld({ seed });
  return {
    demonstrations: (count) => world.demonstrations({ split: 'train', count }),
    requests: (split, count, kinds) =>
      world.requests({ split, count, ...(kinds === undefined ? {} : { kinds }) }),
    request: (id) => world.request(id),
    judge(request, completion) {
      const {
        words: _words,
        flattery: _flattery,
        refusal,
        ...attributes
      } = scoreAttributes(request, completion);
      const all = { ...attributes, words: _words, flattery: _flattery, refusal };
      return {
        reward: goldReward(request, all),
        cost: goldCost(all),
        utility: goldUtility(request, all),
        refused: refusal === 1,
        wellFormed: attributes.format === 1,
        attributes: Object.fromEntries(
          Object.entries(attributes).filter((entry) => entry[1] !== undefined),
        ) as Record<string, number>,
      };
    },
    prefer: (request, completions, index) => prefer(request, completions, usualAnnotator, rng, index),
  };
}
