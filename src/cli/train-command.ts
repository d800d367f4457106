/** A training method as a command: `heed dpo`, which is also `heed train dpo`. */
import type { ConfigSchema } from '../core/config.ts';
import type { TrainMethod } from '../parts/method.ts';
import type { TrainerConfig } from '../parts/trainer/config.ts';
import type { CommandContext, CommandModule } from './command.ts';
import { formatBytes, formatDuration, formatNumber } from './format.ts';
import { observeRun } from './observe-run.ts';
import { formatTable } from './output.ts';

/**
 * The command that trains with `method`. Its schema is the method's.
 *
 * @returns a command that ends with 0 when trained and 130 when the user stopped it and a checkpoint was saved.
 */
export function trainCommand<S extends ConfigSchema, E>(method: TrainMethod<S, E>): CommandModule<S> {
  return {
    config: method.config,
    examples: [
      `${method.id} --model <folder> --data rows.jsonl --output runs/first`,
      `${method.id} --config ${method.id}.yaml --learning-rate 1e-5`,
      `${method.id} --config ${method.id}.yaml --print-config`,
    ],
    switches: {
      dryRun:
        'check model, tokenizer and data; print the configuration, memory by term and time per step; train nothing',
    },
    run: async (config, context) => {
      if (context.switches.has('dryRun')) {
        await dryRun(method as unknown as TrainMethod, config as unknown as TrainerConfig, context);
        return 0;
      }
      // The type of `defineMethod` guarantees the trainer's fields.
      const settings = config as unknown as TrainerConfig;
      const { runTraining } = await import('../parts/trainer/run-training.ts');
      const { runMethod } = await import('./run-method.ts');
      return runMethod(settings, context, (run) =>
        runTraining(method as unknown as TrainMethod, settings, run),
      );
    },
  };
}

/** Share of the matrix-product rate that a training step reaches, for the estimate of its time. */
const typicalEfficiency = 0.6;

async function dryRun(method: TrainMethod, config: TrainerConfig, context: CommandContext): Promise<void> {
  const { planTraining } = await import('../parts/trainer/plan.ts');
  const { createEngine } = await import('../engine/create-engine.ts');
  const { matrixProductRate } = await import('./bench/engine.ts');
  const { output } = context;
  const plan = await planTraining(method, config, observeRun(context.progress));
  const engine = await createEngine(config.threads === undefined ? {} : { threads: config.threads });
  const gflops = await matrixProductRate(engine, context.clock);
  engine.dispose();
  const secondsPerStep = plan.flopsPerStep / (gflops * 1e9 * typicalEfficiency);
  output.record({ event: 'plan', ...plan, matmulGflops: gflops, secondsPerStep });
  output.text(context.configText.trimEnd());
  output.text('');
  output.text(
    formatTable([
      ['', 'value'],
      ['parameters', formatNumber(plan.parameters)],
      ['trained', `${formatNumber(plan.trained)} (${percent(plan.trained / plan.parameters)})`],
      ['examples', formatNumber(plan.examples)],
      ['held-out examples', formatNumber(plan.evaluationExamples)],
      ['columns, median', formatNumber(plan.columns.median)],
      ['columns, longest', formatNumber(plan.columns.longest)],
      ['optimizer steps', formatNumber(plan.steps)],
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
    `about ${secondsPerStep.toFixed(2)} s per step, ${formatDuration(secondsPerStep * plan.steps)} in all ` +
      `(${typicalEfficiency} of ${gflops.toFixed(0)} GFLOP/s, measured now; small models reach less)`,
  );
}

const percent = (share: number): string => `${(100 * share).toPrecision(3)} %`;
