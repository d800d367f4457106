/** A training method as a command: `heed dpo`, which is also `heed train dpo`. */
import type { ConfigSchema } from '../core/config.ts';
import type { TrainMethod } from '../parts/method.ts';
import type { TrainerConfig } from '../parts/trainer/config.ts';
import type { CommandModule } from './command.ts';

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
        const { dryRun } = await import('./dry-run.ts');
        const { planTraining } = await import('../parts/trainer/plan.ts');
        const { threads } = config as unknown as TrainerConfig;
        await dryRun(threads, context, async (observer, memory) => {
          const plan = await planTraining(
            method as unknown as TrainMethod,
            config as unknown as TrainerConfig,
            observer,
            memory,
          );
          const { parameters, trained, examples, evaluationExamples, columns, steps } = plan;
          return {
            plan,
            parameters,
            flops: plan.flopsPerStep,
            unit: 'step',
            count: steps,
            rows: [
              ['parameters', parameters],
              ['trained', trained],
              ['examples', examples],
              ['held-out examples', evaluationExamples],
              ['columns, median', columns.median],
              ['columns, longest', columns.longest],
              ['micro-batch', plan.microBatchSize],
              ['optimizer steps', steps],
            ],
          };
        });
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
