/** A run on the terminal: its stages as they go on, and what it came to. */
import type { RunObserver, RunSummary } from '../parts/trainer/run-training.ts';
import { formatDuration, formatNumber } from './format.ts';
import type { Output } from './output.ts';
import type { Progress, Stage } from './progress.ts';

/** Shows what a run tells: a stage from its first call to its last unit, evaluations as lines that stay. */
export function observeRun(progress: Progress): RunObserver {
  const stages = new Map<string, Stage>();
  return {
    stage(name, done, total, figures) {
      let stage = stages.get(name);
      if (stage === undefined) {
        stage = progress.start(name, { total, from: done, unit: name === 'train' ? 'steps' : 'rows' });
        stages.set(name, stage);
      }
      stage.update(done, figures);
      if (done < total) return;
      stage.end();
      stages.delete(name);
    },
    note: (message) => progress.note(message),
    metrics(record) {
      const evaluated = Object.entries(record).filter(([name]) => name.startsWith('eval_'));
      const words = evaluated.map(([name, value]) => `${name} ${formatNumber(value)}`).join('  ');
      const text =
        words === '' ? undefined : `  step ${formatNumber(record.global_step ?? record.step ?? 0)}  ${words}`;
      progress.record({ event: 'metrics', ...record }, text);
    },
  };
}

/** Says what a run came to. */
export function reportRun(summary: RunSummary, output: Output): void {
  const { outcome, folder, saved, steps, first, last, milliseconds } = summary;
  output.record({ event: 'run', outcome, folder, saved, steps, first, last, seconds: milliseconds / 1000 });
  const { colors } = output;
  output.text(
    outcome === 'done'
      ? `${colors.green('done')} ${formatNumber(steps)} steps in ${formatDuration(milliseconds / 1000)}; model in ${colors.bold(saved)}`
      : `${colors.yellow('stopped')} after ${formatNumber(steps)} steps; go on with --resume. Checkpoint in ${colors.bold(saved)}`,
  );
  for (const name of [
    'loss',
    'eval_loss',
    'rewards/accuracies',
    'eval_rewards/accuracies',
    'eval_perplexity',
    'accuracy',
    'eval_accuracy',
    'eval_ece',
    'objective/scores',
    'objective/kl',
  ]) {
    const [before, after] = [first[name], last[name]];
    if (before !== undefined && after !== undefined && outcome === 'done') {
      output.text(`  ${name.padEnd(24)} ${formatNumber(before)} → ${formatNumber(after)}`);
    }
  }
}
