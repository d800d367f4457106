/** What an experiment that stands for a published claim says: its arms, its measure, and how the measure decides. */
import type { Estimate } from '../../eval/estimate.ts';
import type { Pipeline } from '../quickstart/context.ts';
import type { Stages } from '../quickstart/stages.ts';

/** One seed's world with its SFT policy, labelled pairs and reward model, and the records of what was measured in it. */
export interface Lab {
  readonly pipeline: Pipeline;
  readonly stages: Stages;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Points of one arm in one panel, in order. */
export interface Curve {
  readonly panel: string;
  readonly arm: string;
  readonly points: readonly Point[];
}

/** What one seed gave. JSON can hold it. */
export interface Measurement {
  /** Figures by name; the tests of the experiment are among them. */
  readonly figures: Readonly<Record<string, number>>;
  readonly curves: readonly Curve[];
}

/** A figure that the claim says is above 0. */
export interface ClaimTest {
  /** Name of a figure. */
  readonly figure: string;
  /** The claim in words: `gold falls from its peak`. */
  readonly says: string;
}

export interface Experiment {
  readonly id: string;
  readonly title: string;
  /** Who claims it: authors, year, title. */
  readonly source: string;
  /** The claim that is put to the test. */
  readonly claim: string;
  /** Minutes of one seed on two cores, of which the world's own policy and reward model take three. */
  readonly minutes: number;
  /** All have to hold for the claim to be shown. */
  readonly tests: readonly ClaimTest[];
  /** Name of the horizontal axis of its curves. */
  readonly axis: string;
  measure(lab: Lab): Promise<Measurement>;
}

export type Verdict = 'shown' | 'not shown' | 'opposite';

export interface TestResult extends ClaimTest {
  readonly perSeed: readonly number[];
  /** Mean with the 95 % interval that the seeds leave. */
  readonly interval: Estimate;
  readonly verdict: Verdict;
}
