/** What a reward that comes with heed states of itself. */
import type { z } from 'zod';
import type { ScoreItem } from './scorer.ts';
import type { PartScore, Reward } from './weighted-scorer.ts';

/** What rewards may need of their surroundings. */
export interface RewardServices {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Draws waiting times of clients. */
  readonly seed: number;
}

export interface BuiltinReward<S extends z.ZodObject = z.ZodObject> {
  /** Name on the command line, in metrics and messages. */
  readonly name: string;
  /** One line for help and docs. */
  readonly summary: string;
  /** Strict schema of its options, each described. */
  readonly options: S;
  build(options: z.output<S>, services: RewardServices): Reward;
}

/** A reward from a function of one completion. */
export function perItem(name: string, score: (item: ScoreItem) => PartScore | Promise<PartScore>): Reward {
  return {
    name,
    score: (items) => Promise.all(items.map(async (item) => score(item))),
    dispose() {},
  };
}
