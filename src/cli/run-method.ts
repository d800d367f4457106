/** What every command that trains does around its run: an engine, sinks for the metrics, Ctrl-C, and the last word. */
import { basename } from 'node:path';
import type { Engine } from '../engine/engine.ts';
import { openSinks } from '../parts/sinks/open-sinks.ts';
import type { Sink } from '../parts/sinks/sink.ts';
import type { ReportTarget } from '../parts/sinks/targets.ts';
import type { RunContext, RunSummary } from '../parts/trainer/run-training.ts';
import type { CommandContext, ExitCode } from './command.ts';
import { observeRun, reportRun } from './observe-run.ts';

/** @returns 0 when trained, 130 when the user stopped it and a checkpoint was saved */
export async function runMethod(
  {
    threads,
    reportTo,
    rolloutLimit = 0,
  }: {
    readonly threads?: number | undefined;
    readonly reportTo: readonly ReportTarget[];
    /** MB of rollouts to keep. */
    readonly rolloutLimit?: number;
  },
  context: CommandContext,
  run: (context: RunContext) => Promise<RunSummary>,
): Promise<ExitCode> {
  const { progress, configText, clock, now, env } = context;
  const signal = context.interruptible();
  const warn = (message: string): void => progress.note(message, 'warning');
  const { createEngine } = await import('../engine/create-engine.ts');
  const engine: Engine = await createEngine({ ...(threads === undefined ? {} : { threads }), log: warn });
  const observer = observeRun(progress);
  let sink: Sink | undefined;
  try {
    const summary = await run({
      ...{ engine, configText, clock },
      interrupted: () => signal.aborted,
      observer: {
        ...observer,
        metrics(record) {
          sink?.log(record);
          observer.metrics(record);
        },
        rollouts: (records) => sink?.rollouts?.(records),
      },
      async open(folder) {
        const rolloutBytes = rolloutLimit * 1e6;
        sink = await openSinks(reportTo, {
          ...{ folder, name: basename(folder), configText, rolloutBytes, now, env, warn },
        });
        return sink.close;
      },
    });
    // The last word is the result, not the stage that the user stopped.
    progress.close();
    reportRun(summary, context.output);
    return summary.outcome === 'done' ? 0 : 130;
  } finally {
    engine.dispose();
  }
}
