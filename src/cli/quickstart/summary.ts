/** summary.json: the figures of a quickstart. Equal seeds on equal machines give equal bytes: no times in it. */
import type { Pipeline } from './context.ts';
import type { QuickstartResult } from './pipeline.ts';
import { writeAtomically } from './stages.ts';

export function writeSummary(
  { options, path }: Pipeline,
  { parameters, evaluation }: QuickstartResult,
): void {
  const { seed, size, klCoefficient } = options;
  const { policies, rewardModel, curves } = evaluation;
  const summary = { format: 1, seed, size, klCoefficient, parameters, ...policies, rewardModel, curves };
  writeAtomically(path('summary.json'), `${JSON.stringify(summary, null, 2)}\n`);
}
