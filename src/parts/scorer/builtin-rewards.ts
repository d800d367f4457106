/** The rewards that come with heed, by name. */
import { judge } from '../remote/judge.ts';
import type { BuiltinReward } from './builtin-reward.ts';
import { codeTests } from './code-tests.ts';
import { exactAnswer } from './exact-answer.ts';
import { format, length, regex } from './text-rewards.ts';

// Each has options of its own; `build` is only called with what its own schema gave.
const all = [
  exactAnswer,
  format,
  regex,
  length,
  codeTests,
  judge,
] as readonly unknown[] as readonly BuiltinReward[];

export const builtinRewards: ReadonlyMap<string, BuiltinReward> = new Map(
  all.map((reward) => [reward.name, reward]),
);
