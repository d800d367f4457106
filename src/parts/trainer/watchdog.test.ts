import { describe, expect, it } from 'vitest';
import { createWatchdog, rollBack, WatchdogError, type WatchSettings } from './watchdog.ts';

const settings: WatchSettings = { action: 'stop', window: 3, rollbackLimit: 2, rollbackLearningRate: 0.5 };
const watch = (more: Partial<WatchSettings> = {}) => createWatchdog({ ...settings, ...more });
const calm = { loss: 1, grad_norm: 1 };

/** Rule of the alarm at each record. */
const iterations = (more: Partial<WatchSettings>, name: string, values: readonly number[]) => {
  const watchdog = watch(more);
  return values.map((value) => {
    watchdog.iteration({ [name]: value });
    return watchdog.update(calm)?.rule;
  });
};
const updates = (more: Partial<WatchSettings>, name: string, values: readonly number[]) => {
  const watchdog = watch(more);
  return values.map((value) => watchdog.update({ ...calm, [name]: value })?.rule);
};
const no = undefined;

describe('rules', () => {
  it('nan: always on, for loss and both gradient norms', () => {
    expect(updates({}, 'loss', [1, Number.NaN])).toEqual([no, 'nan']);
    expect(updates({}, 'grad_norm', [1, Number.POSITIVE_INFINITY])).toEqual([no, 'nan']);
    expect(updates({}, 'critic/grad_norm', [1e9, Number.NaN])).toEqual([no, 'nan']);
  });

  it('kl: above the limit, also when it is no number', () => {
    expect(iterations({ kl: 5 }, 'objective/kl', [5, 5.1, -3, Number.NaN])).toEqual([no, 'kl', no, 'kl']);
  });

  it('entropy: below the limit, under the name of either trainer', () => {
    expect(updates({ entropy: 0.5 }, 'policy/entropy_avg', [0.6, 0.5, 0.4])).toEqual([no, no, 'entropy']);
    expect(updates({ entropy: 0.5 }, 'entropy', [0.4])).toEqual(['entropy']);
  });

  it('length: a factor away from the mean of the first iterations, either way', () => {
    // The mean of the first three is 10.
    const values = [8, 12, 10, 20, 20.1, 5, 4.9];
    const expected = [no, no, no, no, 'length', no, 'length'];
    expect(iterations({ length: 2 }, 'completions/mean_length', values)).toEqual(expected);
  });

  it('reward: below the best mean of three iterations', () => {
    // Means of three: 1, 2, 2; a score of 0.9 is 1.1 below 2.
    const values = [0, 1, 2, 3, 1, 0.9];
    expect(iterations({ reward: 1 }, 'objective/scores', values)).toEqual([no, no, no, no, no, 'reward']);
  });

  it('gradNorm: a multiple of the median, once there are enough', () => {
    // Medians of the three before: 2 at the fourth, 2 again at the fifth; a spike counts into the next median.
    const values = [1, 9, 2, 6, 6.1, 30];
    expect(updates({ gradNorm: 3 }, 'grad_norm', values)).toEqual([no, no, no, no, no, 'gradNorm']);
    expect(updates({ gradNorm: 3 }, 'grad_norm', [1, 1, 1, 3.1])).toEqual([no, no, no, 'gradNorm']);
  });

  it('an alarm of the iteration comes with its first update only', () => {
    const watchdog = watch({ kl: 1 });
    watchdog.iteration({ 'objective/kl': 2 });
    expect(watchdog.update(calm)).toEqual({ rule: 'kl', text: 'objective/kl is 2, above 1 nats' });
    expect(watchdog.update(calm)).toBeUndefined();
  });
});

it('a watchdog that was loaded goes on as the one that was stored', () => {
  const more = { length: 2, reward: 1, gradNorm: 3, window: 2 };
  const record = (at: number) => ({ 'completions/mean_length': 10 + at, 'objective/scores': at % 3 });
  const straight = watch(more);
  const stored = watch(more);
  for (let at = 0; at < 5; at++) {
    for (const each of [straight, stored]) {
      each.iteration(record(at));
      each.update({ ...calm, grad_norm: 1 + at });
    }
  }
  const resumed = watch(more);
  resumed.load(JSON.parse(JSON.stringify(stored.state())) as Record<string, number>);
  expect(resumed.state()).toEqual(straight.state());
  for (const norm of [13, 14, 40]) {
    expect(resumed.update({ ...calm, grad_norm: norm })).toEqual(
      straight.update({ ...calm, grad_norm: norm }),
    );
  }
});

describe('roll-backs', () => {
  const error = new WatchdogError('step 4', { rule: 'kl', text: 'kl is 2, above 1' }, '');
  const restore = async (): Promise<string> => 'state';
  const noted: string[] = [];
  const note = (message: string): void => void noted.push(message);

  it('lower the learning rate each time, up to the limit', async () => {
    const watchdog = watch({ action: 'roll-back' });
    expect(await rollBack(error, { watchdog, note }, restore)).toBe('state');
    expect(watchdog.learningRateScale).toBe(0.5);
    // The checkpoint was written before: what it counts is less.
    watchdog.load({ 'watch.rollbacks': 0 });
    await rollBack(error, { watchdog, note }, restore);
    expect(noted[1]).toBe('back to the last checkpoint after step 4: kl is 2, above 1; learning rate × 0.25');
    expect(watchdog.learningRateScale).toBe(0.25);
    await expect(rollBack(error, { watchdog, note }, restore)).rejects.toThrow(
      /came again after 2 roll-backs/,
    );
  });

  it('are for alarms only, need a checkpoint, and are not for a watchdog that stops', async () => {
    const watchdog = watch({ action: 'roll-back' });
    await expect(rollBack(new Error('other'), { watchdog, note }, restore)).rejects.toThrow('other');
    await expect(rollBack(error, { watchdog: watch(), note }, restore)).rejects.toThrow(
      /step 4: expected no alarm/,
    );
    await expect(rollBack(error, { watchdog, note }, async () => undefined)).rejects.toThrow(
      /a checkpoint from before the alarm/,
    );
  });
});

it('refuses limits that mean nothing', () => {
  expect(() => watch({ gradNorm: 1 })).toThrow(/watchGradNorm: expected a factor above 1, received 1/);
  expect(() => watch({ window: 0 })).toThrow(/watchWindow/);
  expect(() => watch({ rollbackLearningRate: 0 })).toThrow(/rollbackLearningRate/);
});
