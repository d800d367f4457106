/** `--dry-run` of a method: what it would cost, before anything is computed. */
import type { MemoryPlan } from '../parts/trainer/memory.ts';
import type { RunObserver } from '../parts/trainer/run-training.ts';
import type { CommandContext } from './command.ts';
import { formatBytes, formatDuration, formatNumber } from './format.ts';
import { observeRun } from './observe-run.ts';
import { formatTable } from './output.ts';

/** A plan, and what is shown of it. */
export interface ShownPlan {
  readonly plan: { readonly memory: MemoryPlan };
  readonly rows: readonly (readonly [string, number])[];
  /** All numbers of the model, of which the row `trained` shows the share. */
  readonly parameters: number;
  /** Floating-point operations of the products of one unit: a step, the updates of an iteration. */
  readonly flops: number;
  readonly unit: string;
  readonly count: number;
}

/** Share of the matrix-product rate that a training step reaches, for the estimate of its time. */
const typicalEfficiency = 0.6;

/** Makes a plan with the engine loaded, so that what the process takes is known, and prints it. */
export async function dryRun(
  threads: number | undefined,
  context: CommandContext,
  makePlan: (observer: RunObserver, residentBytes: () => number) => Promise<ShownPlan>,
): Promise<void> {
  const { createEngine } = await import('../engine/create-engine.ts');
  const { matrixProductRate } = await import('./bench/engine.ts');
  const { output } = context;
  const engine = await createEngine(threads === undefined ? {} : { threads });
  const { plan, rows, parameters, flops, unit, count } = await makePlan(
    observeRun(context.progress),
    context.memory,
  );
  const gflops = await matrixProductRate(engine, context.clock);
  engine.dispose();
  const seconds = flops / (gflops * 1e9 * typicalEfficiency);
  const secondsPer = { [unit === 'step' ? 'secondsPerStep' : 'secondsPerIteration']: seconds };
  output.record({ event: 'plan', ...plan, matmulGflops: gflops, ...secondsPer });
  output.text(context.configText.trimEnd());
  output.text('');
  output.text(
    formatTable([
      ['', 'value'],
      ...rows.map(([name, value]) => [
        name,
        name === 'trained' ? `${formatNumber(value)} (${percent(value / parameters)})` : formatNumber(value),
      ]),
    ]),
  );
  output.text('');
  output.text(
    formatTable([
      ['memory', 'size'],
      ...Object.entries(plan.memory).map(([term, bytes]) => [term, formatBytes(bytes)]),
    ]),
  );
  output.text('');
  output.text(
    `about ${seconds.toFixed(2)} s per ${unit}, ${formatDuration(seconds * count)} in all ` +
      `(${typicalEfficiency} of ${gflops.toFixed(0)} GFLOP/s, measured now; small models reach less)`,
  );
}

const percent = (share: number): string => `${(100 * share).toPrecision(3)} %`;
