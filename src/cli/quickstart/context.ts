import type { Rng } from '../../core/rng.ts';
import type { Engine } from '../../engine/engine.ts';
import type { RunObserver } from '../../parts/trainer/run-training.ts';
import type { SizeName, Sizes } from './sizes.ts';
import { writeAtomically } from './stages.ts';
import type { Testbed } from './testbed.ts';

export const stageNames = [
  'world',
  'tokenizer',
  'sft',
  'label',
  'reward-model',
  'dpo',
  'ppo',
  'evaluate',
] as const;
export type StageName = (typeof stageNames)[number];

export interface QuickstartOptions {
  readonly folder: string;
  readonly seed: number;
  readonly size: SizeName;
  /** Weight of the KL penalty of PPO; at 0 nothing holds the policy near what the reward model knows. */
  readonly klCoefficient: number;
  /** Rollouts of PPO; default by size. */
  readonly iterations?: number;
  /** Stages that may run; default all. */
  readonly only?: readonly StageName[];
  /** Go on where an earlier run in this folder stopped. */
  readonly resume: boolean;
  /** heed's version, for the report. */
  readonly version: string;
  readonly engine: Engine;
  readonly clock: () => number;
  readonly memory: () => number;
  readonly every: (ms: number, tick: () => void) => () => void;
  readonly interrupted: () => boolean;
  readonly observer: RunObserver;
}

/** What stages share. */
export interface Pipeline {
  readonly options: QuickstartOptions;
  readonly size: Sizes;
  readonly testbed: Testbed;
  readonly rng: Rng;
  /** A path inside the run's folder. */
  readonly path: (...parts: string[]) => string;
}

/** Completions of the world are shorter than this, the stop token included; so are prompts. */
export const limits = { newTokens: 64, prompt: 96 } as const;

/** A request as a row that says which one it is. */
export const promptRow = ({ id, prompt }: { readonly id: string; readonly prompt: string }) => ({
  prompt,
  requestId: id,
});

/** Writes JSON Lines. */
export function writeRows(path: string, rows: readonly object[]): void {
  writeAtomically(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}
