/** An online method as a command: `heed ppo`, which is also `heed train ppo`. */
import type { ConfigSchema } from '../core/config.ts';
import type { OnlineMethod } from '../parts/online-method.ts';
import type { OnlineTrainingConfig } from '../parts/trainer/run-online-training.ts';
import type { CommandModule } from './command.ts';

/**
 * The command that trains with `method`. Its schema is the method's.
 *
 * @returns a command that ends with 0 when trained and 130 when the user stopped it and a checkpoint was saved.
 */
export function onlineCommand<S extends ConfigSchema>(method: OnlineMethod<S>): CommandModule<S> {
  return {
    config: method.config,
    examples: [
      `${method.id} --model <folder> --reward-model <folder> --data prompts.jsonl --output runs/first`,
      `${method.id} --model <folder> --reward exact-answer --reward ./brevity.mjs --reward-weights 1,0.2 --data rows.jsonl`,
      `${method.id} --config ${method.id}.yaml --learning-rate 1e-5`,
      `${method.id} --config ${method.id}.yaml --print-config`,
    ],
    switches: {
      dryRun:
        'check models, tokenizer and prompts; print the configuration, memory by term and time of the updates; sample and train nothing',
    },
    run: async (config, context) => {
      // The type of `defineOnlineMethod` guarantees the shared fields.
      const settings = config as unknown as OnlineTrainingConfig;
      if (context.switches.has('dryRun')) {
        const { dryRun } = await import('./dry-run.ts');
        const { planOnline } = await import('../parts/trainer/plan-online.ts');
        await dryRun(settings.threads, context, async (observer, memory) => {
          const plan = await planOnline(method as unknown as OnlineMethod, settings, observer, memory);
          return {
            plan,
            parameters: plan.parameters,
            flops: plan.flopsPerIteration,
            unit: 'iteration without sampling',
            count: plan.iterations,
            rows: [
              ['parameters', plan.parameters],
              ['trained', plan.trained],
              ...(plan.critic > 0 ? [['trained, critic', plan.critic] as const] : []),
              ['prompts', plan.prompts],
              ['columns, longest', plan.columns],
              ['micro-batch', plan.microBatchSize],
              ['updates per iteration', plan.updatesPerIteration],
              ['iterations', plan.iterations],
            ],
          };
        });
        return 0;
      }
      const { runOnlineTraining } = await import('../parts/trainer/run-online-training.ts');
      const { runMethod } = await import('./run-method.ts');
      return runMethod(settings, context, (run) =>
        runOnlineTraining(method as unknown as OnlineMethod, settings, { ...run, env: context.env }),
      );
    },
  };
}
