import pc from 'picocolors';
import { expect, it } from 'vitest';
import { observeRun } from './observe-run.ts';
import { createProgress } from './progress.ts';

function observe(mode: 'live' | 'json') {
  let written = '';
  const time = { now: 0 };
  const progress = createProgress({
    stream: { columns: 120, write: (text: string) => (written += text) },
    mode,
    colors: pc.createColors(false),
    clock: () => time.now,
  });
  return { observer: observeRun(progress), progress, time, written: () => written };
}

it('a stage begins with its first call and ends with its last unit', () => {
  const { observer, time, progress, written } = observe('json');
  observer.stage('reference', 0, 4);
  time.now = 2_000;
  observer.stage('reference', 4, 4);
  // A run that is resumed after step 60.
  observer.stage('train', 60, 62, { loss: 2 });
  time.now = 4_000;
  observer.stage('train', 61, 62, { loss: 1.5 });
  progress.close();
  const lines = written()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines).toMatchObject([
    { event: 'start', stage: 'reference', unit: 'rows', done: 0, total: 4 },
    { event: 'end', stage: 'reference', done: 4, rate: 2 },
    { event: 'start', stage: 'train', unit: 'steps', done: 60, total: 62 },
    // One step in two seconds: the 60 before do not count.
    { event: 'stopped', stage: 'train', done: 61, rate: 0.5, figures: { loss: 1.5 } },
  ]);
});

it('metrics are events for programs, and evaluations lines for people', () => {
  const training = { step: 10, loss: 2.5 };
  const evaluation = { step: 10, eval_loss: 2.25, 'eval_rewards/accuracies': 0.625 };
  const json = observe('json');
  json.observer.metrics(training);
  json.observer.metrics(evaluation);
  expect(
    json
      .written()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual([
    { event: 'metrics', ...training },
    { event: 'metrics', ...evaluation },
  ]);
  const live = observe('live');
  live.observer.metrics(training);
  live.observer.metrics(evaluation);
  expect(live.written()).toBe('  step 10  eval_loss 2.25  eval_rewards/accuracies 0.625\n');
});
