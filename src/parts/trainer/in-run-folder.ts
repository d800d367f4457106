/** What surrounds the work of a run once its folder is there. */
import type { RunFolder } from './run-folder.ts';
import type { RunContext, RunSummary } from './run-training.ts';

/**
 * Opens what goes with the run's folder, does `work`, and closes again. A run that fails before it came to anything leaves
 * no folder behind, so that the next try may use its name.
 *
 * @returns the summary of `work`
 */
export async function inRunFolder(
  run: RunFolder,
  open: RunContext['open'],
  work: () => Promise<RunSummary>,
): Promise<RunSummary> {
  let close: ((outcome: RunSummary['outcome'] | 'failed') => Promise<void>) | undefined;
  let outcome: RunSummary['outcome'] | 'failed' = 'failed';
  try {
    close = await open?.(run.folder);
    const summary = await work();
    outcome = summary.outcome;
    return summary;
  } finally {
    await close?.(outcome);
    if (outcome === 'failed') run.discardIfEmpty();
  }
}
