/** The sinks of a run, as `reportTo` names them. */
import type { Sink, SinkContext } from './sink.ts';
import type { ReportTarget } from './targets.ts';

/**
 * run.db always, and what `targets` names besides. `all` is TensorBoard's files and every server whose address is set.
 *
 * @throws ConfigError when a target that was named lacks what it needs
 */
export async function openSinks(targets: readonly ReportTarget[], context: SinkContext): Promise<Sink> {
  const wanted = new Set(targets);
  if (wanted.has('all')) {
    wanted.add('tensorboard');
    if (context.env.MLFLOW_TRACKING_URI !== undefined) wanted.add('mlflow');
    if (context.env.TRACKIO_SERVER_URL !== undefined) wanted.add('trackio');
    if (context.env.WANDB_API_KEY !== undefined) wanted.add('wandb');
  }
  const sinks: Sink[] = [];
  // Those that may refuse come first: nothing is written before.
  if (wanted.has('mlflow')) sinks.push((await import('./mlflow.ts')).mlflowSink(context));
  if (wanted.has('trackio')) sinks.push((await import('./trackio.ts')).trackioSink(context));
  if (wanted.has('wandb')) sinks.push(await (await import('./wandb.ts')).wandbSink(context));
  if (wanted.has('tensorboard')) sinks.push((await import('./tensorboard.ts')).tensorboardSink(context));
  sinks.push((await import('./run-db.ts')).runDbSink(context));
  return {
    log(record) {
      for (const sink of sinks) sink.log(record);
    },
    rollouts(records) {
      for (const sink of sinks) sink.rollouts?.(records);
    },
    async close(outcome) {
      await Promise.all(sinks.map((sink) => sink.close(outcome)));
    },
  };
}
