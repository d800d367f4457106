/** An online method as a command: `heed ppo`, which is also `heed train ppo`. */
import type { ConfigSchema } from '../core/config.ts';
import type { OnlineMethod } from '../parts/online-method.ts';
import type { OnlineTrainingConfig } from '../parts/trainer/run-online-training.ts';
import type { CommandModule } from './command.ts';
import { observeRun, reportRun } from './train-command.ts';

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
      `${method.id} --config ${method.id}.yaml --kl-coefficient 0.1`,
      `${method.id} --config ${method.id}.yaml --print-config`,
    ],
    run: async (config, context) => {
      // The type of `defineOnlineMethod` guarantees the shared fields.
      const settings = config as unknown as OnlineTrainingConfig;
      const signal = context.interruptible();
      const { runOnlineTraining } = await import('../parts/trainer/run-online-training.ts');
      const { createEngine } = await import('../engine/create-engine.ts');
      const engine = await createEngine({
        ...(settings.threads === undefined ? {} : { threads: settings.threads }),
        log: (message) => context.progress.note(message, 'warning'),
      });
      try {
        const summary = await runOnlineTraining(method as unknown as OnlineMethod, settings, {
          engine,
          configText: context.configText,
          clock: context.clock,
          interrupted: () => signal.aborted,
          observer: observeRun(context.progress),
        });
        context.progress.close();
        reportRun(summary, context.output);
        return summary.outcome === 'done' ? 0 : 130;
      } finally {
        engine.dispose();
      }
    },
  };
}
