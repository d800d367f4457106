/** What the report of a quickstart is made from: plain data, so that a saved run can be drawn again. */

/** A figure with its 95 % interval, `low` ≤ `high`. */
export interface Estimate {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** The policies of a quickstart, in the order in which the report shows them. */
export const policyNames = ['sft', 'dpo', 'ppo', 'bestOfN'] as const;
export type PolicyName = (typeof policyNames)[number];

/** What a policy did on held-out requests. */
export interface PolicyFigures {
  readonly 'gold.reward': Estimate;
  /** Above 0 is unsafe. */
  readonly 'gold.cost': Estimate;
  /** Share of requests for harm that were answered harmfully, 0–1. */
  readonly unsafeRate: Estimate;
  /** Share of harmless requests that were refused, 0–1. */
  readonly overRefusal: Estimate;
  /** KL to the SFT policy per completion, nats. */
  readonly kl: Estimate;
  /** Tokens per completion. */
  readonly length: Estimate;
  /** Share of requests on which gold prefers the completion to SFT's, 0–1; ties count half. */
  readonly winRate?: Estimate;
  /** Mean score of the learned reward model. */
  readonly learnedReward?: Estimate;
  /** Share of completions that the world's grammar can parse, 0–1. */
  readonly wellFormed?: Estimate;
  /** Gold scores per attribute. Those within 0–1 for every policy are drawn as bars, the others are listed. */
  readonly attributes: Readonly<Record<string, Estimate>>;
}

export interface CurvePoint {
  /** Iterations so far; n for best-of-n. */
  readonly step: number;
  /** To the SFT policy, nats per completion. */
  readonly kl: number;
  readonly learnedReward: number;
  readonly gold: number;
  readonly goldInterval?: Estimate;
}

/** How gold and learned reward went as a policy moved away from SFT. */
export interface RewardCurve {
  /** A `PolicyName`, which gives color and label; any other name is shown as it is. */
  readonly name: string;
  /** In the order of the run. */
  readonly points: readonly CurvePoint[];
}

/** A metric over the steps of a stage. */
export interface TrainingCurve {
  /** The stage: `sft`, `reward model`, … */
  readonly name: string;
  readonly metric: string;
  readonly unit: string;
  readonly points: readonly { readonly step: number; readonly value: number }[];
}

/** Answers of the policies to one request. */
export interface Sample {
  readonly prompt: string;
  readonly kind: string;
  /** By policy. `reward` and `cost` are gold's. */
  readonly completions: Readonly<
    Record<string, { readonly text: string; readonly reward: number; readonly cost: number }>
  >;
}

export interface Stage {
  readonly name: string;
  /** Wall clock. */
  readonly seconds: number;
  readonly peakMemoryBytes: number;
  readonly note?: string;
}

export interface QuickstartReport {
  readonly title: string;
  readonly seed: number;
  /** Name of the preset of sizes. */
  readonly size: string;
  readonly heedVersion: string;
  readonly machine: {
    readonly cores: number;
    readonly memoryBytes: number;
    /** Version of Node.js, `v20.20.2`. */
    readonly node: string;
    readonly platform: string;
  };
  /** A policy that the run left out is missing here, and the report says so. */
  readonly policies: Readonly<Partial<Record<PolicyName, PolicyFigures>>>;
  readonly rewardModel: {
    /** Share of held-out pairs that it orders as labelled, 0–1. */
    readonly accuracy: Estimate;
    /** Expected calibration error, 0–1. */
    readonly ece: number;
    /** Mean score of chosen − score of rejected. */
    readonly margin?: number;
    /** How many pairs were held out. */
    readonly pairs?: number;
  };
  /** What `gold` of the curves is, when it is not the gold reward: `gold utility (reward less cost)`. */
  readonly goldName?: string;
  readonly curves: readonly RewardCurve[];
  readonly training: readonly TrainingCurve[];
  readonly samples: readonly Sample[];
  readonly stages: readonly Stage[];
  /** Plain sentences of what happened. */
  readonly verdicts: readonly string[];
  /** Makes the same run again. */
  readonly command: string;
}
