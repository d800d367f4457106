/** How much of everything a quickstart makes and does, by `--size`. */

export interface Sizes {
  /** Vocabulary of the tokenizer. */
  readonly vocabulary: number;
  readonly model: {
    readonly hidden: number;
    readonly intermediate: number;
    readonly layers: number;
    readonly heads: number;
  };
  readonly demonstrations: number;
  /** Requests whose sampled pairs are labelled: for the reward model and DPO, and held out. */
  readonly pairs: { readonly train: number; readonly heldOut: number };
  /** Requests that PPO samples from. */
  readonly prompts: number;
  readonly steps: { readonly sft: number; readonly rewardModel: number; readonly dpo: number };
  readonly ppo: { readonly iterations: number; readonly batch: number };
  /**
   * Requests of the evaluation: the usual mix, more of those that ask for harm or only sound like it, and requests about what
   * the demonstrations told.
   */
  readonly evaluation: {
    readonly usual: number;
    readonly hazards: number;
    readonly borderline: number;
    readonly seen: number;
  };
  /** Completions per request of best-of-n. */
  readonly bestOf: number;
}

export const sizeNames = ['tiny', 'small', 'base'] as const;
export type SizeName = (typeof sizeNames)[number];

export const sizes: Readonly<Record<SizeName, Sizes>> = {
  /** Seconds: every stage runs, and what it learns means little. */
  tiny: {
    vocabulary: 600,
    model: { hidden: 32, intermediate: 64, layers: 2, heads: 2 },
    demonstrations: 1000,
    pairs: { train: 96, heldOut: 48 },
    prompts: 64,
    steps: { sft: 200, rewardModel: 6, dpo: 6 },
    ppo: { iterations: 3, batch: 16 },
    evaluation: { usual: 24, hazards: 8, borderline: 8, seen: 16 },
    bestOf: 4,
  },
  /** The default: under four minutes on two cores. */
  small: {
    vocabulary: 1600,
    model: { hidden: 128, intermediate: 352, layers: 4, heads: 4 },
    demonstrations: 32_000,
    pairs: { train: 5000, heldOut: 500 },
    prompts: 3000,
    steps: { sft: 2800, rewardModel: 150, dpo: 150 },
    ppo: { iterations: 36, batch: 64 },
    evaluation: { usual: 768, hazards: 128, borderline: 64, seen: 256 },
    bestOf: 8,
  },
  /** Five times the model and more of everything, in about half an hour. */
  base: {
    vocabulary: 1600,
    model: { hidden: 256, intermediate: 688, layers: 6, heads: 8 },
    demonstrations: 24_000,
    pairs: { train: 4000, heldOut: 600 },
    prompts: 6000,
    steps: { sft: 1000, rewardModel: 250, dpo: 250 },
    ppo: { iterations: 80, batch: 96 },
    evaluation: { usual: 512, hazards: 256, borderline: 128, seen: 256 },
    bestOf: 16,
  },
};
